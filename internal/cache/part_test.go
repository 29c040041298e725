package cache_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// spoilt is a body with a wrong byte at offset.
type spoilt struct {
	io.ReadSeeker
	at, offset int64
}

func (s *spoilt) Seek(offset int64, whence int) (n int64, err error) {
	s.offset, err = s.ReadSeeker.Seek(offset, whence)
	return s.offset, err
}

func (s *spoilt) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if i := s.at - s.offset; i >= 0 && i < int64(n) {
		p[i] ^= 1
	}
	s.offset += int64(n)
	return n, err
}

func TestWrongByteNeverCompletes(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(mebibyte, 6)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return &spoilt{ReadSeeker: body, at: 1000} })
	f := start(t, fake)
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			got, _, err := ocitest.Read(t.Context(), f, ref)
			if err == nil || len(got) >= len(blob) {
				t.Errorf("%d of %d bytes of a wrong blob, %v", len(got), len(blob), err)
			}
		})
	}
	clients.Wait()
	f.Stop()
	if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
		t.Errorf("wrong bytes are left: %v", left)
	}
	if left := cachetest.Files(t, f.Dir, "blobs", "*", "*", "*"); len(left) > 0 {
		t.Errorf("a wrong blob is stored: %v", left)
	}
	fake.Wrap(nil)
	f.Restart(t)
	f.MustRead(t, ref, blob, oci.Fill)
}

// broken fails n bytes after the offset that it was seeked to.
type broken struct {
	io.ReadSeeker
	left int64
	from func(offset int64)
}

func (b *broken) Seek(offset int64, whence int) (int64, error) {
	n, err := b.ReadSeeker.Seek(offset, whence)
	b.from(n)
	return n, err
}

func (b *broken) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, oci.Errorf(oci.Unavailable, "the line is cut")
	}
	n, err := b.ReadSeeker.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// The bytes of a failed fill are not fetched again, by the next request or after a
// restart.
func TestUnfinishedFillIsResumed(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(mebibyte, 7)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	var mu sync.Mutex
	var offsets []int64
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
		return &broken{ReadSeeker: body, left: 400_000, from: func(offset int64) {
			mu.Lock()
			defer mu.Unlock()
			offsets = append(offsets, offset)
		}}
	})
	f := start(t, fake)
	for range 2 {
		if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil {
			t.Fatal("a broken fill completed")
		}
		f.Stop()
		f.Restart(t)
	}
	f.MustRead(t, ref, blob, oci.Fill)
	mu.Lock()
	defer mu.Unlock()
	if len(offsets) != 3 || offsets[0] != 0 || offsets[1] != 400_000 || offsets[2] != 800_000 {
		t.Errorf("fetched from %v, want from the end of the previous fill", offsets)
	}
	f.Stop()
	if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The bytes of an unfinished fill that waits for the upstream are counted: fills that
// run meanwhile do not exceed the limit.
func TestClaimedPartIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 250_000
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 200_000)
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
			return &broken{ReadSeeker: body, left: 100_000, from: func(int64) {}}
		})
		f := start(t, fake, budget(most))
		if _, _, err := ocitest.Read(t.Context(), f, refs[0]); err == nil {
			t.Fatal("a broken fill completed")
		}
		fake.Wrap(nil)
		result := make(chan struct{})
		fake.Fail(func(c ocitest.Call) error {
			if c.Reference == refs[0].Digest().String() {
				<-result
			}
			return nil
		})
		read := make(chan error)
		go func() {
			_, _, err := ocitest.Read(t.Context(), f, refs[0])
			read <- err
		}()
		synctest.Wait()
		f.MustRead(t, refs[1], contents[1], oci.Pass)
		close(result)
		if err := <-read; err != nil {
			t.Errorf("the unfinished fill: %v", err)
		}
		f.Settled(t)
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		f.MustRead(t, refs[1], contents[1], oci.Fill) // the part has been released
		<-time.After(2 * time.Second)
	})
}

// An unfinished fill that was corrupted on the disk is fetched again.
func TestCorruptUnfinishedFill(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(mebibyte, 8)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
		return &broken{ReadSeeker: body, left: 400_000, from: func(int64) {}}
	})
	f := start(t, fake)
	if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil {
		t.Fatal("a broken fill completed")
	}
	f.Stop()
	left := cachetest.Files(t, f.Dir, "fills", "*")
	if len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
	if err := os.WriteFile(left[0], bytes.Repeat([]byte("x"), 500_000), 0o644); err != nil {
		t.Fatal(err)
	}
	fake.Wrap(nil)
	f.Restart(t)
	if got, _, err := ocitest.Read(t.Context(), f, ref); err == nil || len(got) >= len(blob) {
		t.Errorf("%d bytes after a corrupt beginning, %v", len(got), err)
	}
	f.MustRead(t, ref, blob, oci.Fill)
}

// After a power failure the size of a file that was not synced means nothing: the synced
// bytes are resumed and the rest is fetched again.
func TestPowerFailure(t *testing.T) {
	for name, test := range map[string]struct {
		boot, synced string // in the name of the part; empty: unchanged
		from         int64  // the offset at which the next fill begins
	}{
		"none":                       {from: 400_000},
		"a kill":                     {synced: "0", from: 400_000},
		"a reboot":                   {boot: "another", from: 400_000},
		"a power failure":            {boot: "another", synced: "300000", from: 300_000},
		"a failure in the first run": {boot: "another", synced: "0"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := new(ocitest.Fake)
			blob := ocitest.Content(mebibyte, 7)
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
			var offset atomic.Int64
			fail := func(_ oci.Ref, body io.ReadSeeker) io.Reader {
				return &broken{ReadSeeker: body, left: 400_000, from: offset.Store}
			}
			fake.Wrap(fail)
			f := start(t, fake)
			if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil {
				t.Fatal("a broken fill completed")
			}
			f.Stop()
			left := f.tear(t, test.boot, test.synced, test.from)
			fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
				return &broken{ReadSeeker: body, left: 100_000, from: offset.Store}
			})
			for _, from := range []int64{test.from, test.from + 100_000} { // it breaks off once more: the torn bytes are not trusted then
				f.Restart(t)
				_, _, err := ocitest.Read(t.Context(), f, ref)
				if got := offset.Load(); err == nil || got != from {
					t.Errorf("the fill begins at %d, %v, want %d", got, err, from)
				}
				f.Stop()
			}
			fake.Wrap(nil)
			f.Restart(t)
			f.MustRead(t, ref, blob, oci.Fill)
			f.Stop()
			if now := cachetest.Files(t, f.Dir, "fills", "*"); len(now) > 0 {
				t.Errorf("left of %s: %s", left, now)
			}
		})
	}
}

// tear changes the only part to what a power failure leaves: it was written during another
// boot, its first bytes are on the disk, and zeros follow.
func (f *fixture) tear(t *testing.T, boot, synced string, right int64) (path string) {
	t.Helper()
	left := cachetest.Files(t, f.Dir, "fills", "*")
	if len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
	fields := strings.Split(filepath.Base(left[0]), ".")
	fields[2], fields[3] = cmp.Or(boot, fields[2]), cmp.Or(synced, fields[3])
	path = filepath.Join(filepath.Dir(left[0]), strings.Join(fields, "."))
	info, err := os.Stat(left[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(left[0], path), os.Truncate(path, right), os.Truncate(path, info.Size())); err != nil {
		t.Fatal(err)
	}
	return path
}

// Parts older than an hour, and files that are not parts, are removed.
func TestOldPartsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		f := start(t, fake)
		f.Stop()
		name := "sha256-" + oci.FromBytes(nil).Encoded() + ".blob.other.1.1"
		for _, n := range []string{name, "stray"} {
			path := filepath.Join(f.Dir, "fills", n)
			if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		f.Restart(t, func(o *cachetest.Options) {})
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) != 1 {
			t.Errorf("left after the start: %v", left)
		}
		<-time.After(2 * time.Hour)
		f.Stop()
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) != 0 {
			t.Errorf("left after two hours: %v", left)
		}
	})
}

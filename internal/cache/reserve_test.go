package cache_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// trickle sends n bytes and then nothing for an hour.
type trickle struct {
	io.ReadSeeker
	n int
}

func (r *trickle) Read(p []byte) (int, error) {
	if r.n == 0 {
		<-time.After(time.Hour)
		return 0, oci.Errorf(oci.Unavailable, "the line is cut")
	}
	n, err := r.ReadSeeker.Read(p[:min(len(p), r.n)])
	r.n -= n
	return n, err
}

// fillUp reads all refs, so that they are cached.
func (f *fixture) fillUp(t *testing.T, refs []oci.Ref, contents [][]byte) {
	t.Helper()
	for i := range refs {
		f.MustRead(t, refs[i], contents[i], oci.Fill)
		f.Settled(t)
	}
}

// onDisk returns the bytes of all blobs and unfinished fills, including removed files
// that are still open.
func (f *fixture) onDisk(t *testing.T) (total int64) {
	t.Helper()
	for _, path := range slices.Concat(cachetest.Files(t, f.Dir, "blobs", "*", "*", "*"), cachetest.Files(t, f.Dir, "fills", "*")) {
		if info, err := os.Stat(path); err == nil { // it may have been removed
			total += info.Size()
		}
	}
	for _, path := range cachetest.Files(t, "/proc/self/fd", "*") {
		name, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(name, f.Dir) || !strings.HasSuffix(name, " (deleted)") {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			total += info.Size()
		}
	}
	return total
}

// A blob whose bytes do not arrive evicts no more than arrives, whatever its size.
func TestPromisedSizeEvictsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1_000_000
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 10, most/10)
		large := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(most, 99)))
		f := start(t, fake, budget(most))
		f.fillUp(t, refs, contents)
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return &trickle{body, 10} })
		content, err := f.Open(t.Context(), large)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(content.Body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if s := f.Stats(); s.Evictions > 1 {
			t.Errorf("10 bytes have evicted %d of 10 blobs", s.Evictions)
		}
		for i := range refs[1:] {
			f.MustRead(t, refs[i+1], contents[i+1], oci.Hit)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		<-time.After(2 * time.Hour)
		if s := f.Stats(); s.Reserved != 0 || s.Evictions > 1 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// A blob of an impossible size bypasses the cache at once.
func TestAbsurdSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 1000)
		next := &absurd{Fake: fake}
		f := start(t, fake, budget(100_000), func(o *cachetest.Options) { o.Cache.Next = next })
		f.fillUp(t, refs[:1], contents[:1])
		next.size = 1<<63 - 1
		content, err := f.Open(t.Context(), refs[1])
		if err != nil || content.Via != oci.Pass {
			t.Fatalf("%+v, %v", content, err)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		if s := f.Stats(); s.Evictions != 0 || s.Reserved != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Of blobs that do not fit together some are cached, the others bypass the cache, and
// the disk never has more than the limit.
func TestBlobsThatDoNotFitTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1_000_000
		fake := new(ocitest.Fake)
		small, smallC := blobs(t, fake, 10, most/10)
		var refs []oci.Ref
		var contents [][]byte
		for i, size := range []int{700_000, 690_000, 400_000} {
			contents = append(contents, ocitest.Content(size, byte(100+i)))
			refs = append(refs, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, contents[i])))
		}
		var m moods
		f := start(t, fake, budget(most), m.hooks, func(o *cachetest.Options) {
			o.Cache.Hooks.FillFailed = func(ref oci.Ref, err error) { t.Errorf("fill of %s failed: %v", ref, err) }
		})
		f.fillUp(t, small, smallC)
		cachetest.Pace(fake, 100_000)
		var clients sync.WaitGroup
		for i := range refs {
			clients.Go(func() {
				got, _, err := ocitest.Read(t.Context(), f, refs[i])
				if err != nil || !bytes.Equal(got, contents[i]) {
					t.Errorf("blob %d: %d bytes of %d, %v", i, len(got), len(contents[i]), err)
				}
			})
		}
		read := make(chan struct{})
		go func() { clients.Wait(); close(read) }()
		for done := false; !done; {
			select {
			case <-read:
				done = true
			case <-time.After(10 * time.Millisecond):
			}
			synctest.Wait()
			if n := f.onDisk(t); n > most {
				t.Errorf("%d bytes on the disk, %d allowed", n, most)
			}
		}
		f.Settled(t)
		if s := f.Stats(); s.Reserved != 0 || s.Bytes < 690_000 || s.Bytes > most || s.Failed != 0 {
			t.Errorf("left behind: %+v", s)
		}
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		m.want(t) // the disk is not degraded
	})
}

// The part that an unfinished fill left is counted in the reservation of the next.
func TestResumedFillInAFullCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1_000_000
		fake := new(ocitest.Fake)
		large := ocitest.Content(600_000, 99)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, large))
		refs, contents := blobs(t, fake, 6, 100_000)
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
			return &broken{ReadSeeker: body, left: 400_000, from: func(int64) {}}
		})
		f := start(t, fake, budget(most))
		if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil {
			t.Fatal("a broken fill completed")
		}
		fake.Wrap(nil)
		f.fillUp(t, refs, contents)
		f.MustRead(t, ref, large, oci.Fill)
		f.Settled(t)
		if s := f.Stats(); s.Resumed != 1 || s.Evictions != 2 || s.Bytes != most || s.Reserved != 0 {
			t.Errorf("%+v, want one resumed, and two evicted for its rest", s)
		}
	})
}

// A fill that evicts many files does not delay others meanwhile.
func TestLongEvictionDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1_000_000
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 200, most/200)
		for i := range refs { // blobs gives 256 seeds
			contents[i] = fmt.Append(contents[i][8:], "seed", 1000+i)
			refs[i] = ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, contents[i]))
		}
		large := ocitest.Content(900_000, 99)
		largeRef := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, large))
		f := start(t, fake, budget(most), func(o *cachetest.Options) { o.Cache.Store = slowRemove{o.Cache.Store} })
		f.fillUp(t, refs, contents)
		go func() { _, _, _ = ocitest.Read(t.Context(), f, largeRef) }() // evicts for minutes
		<-time.After(time.Second)
		small := ocitest.Content(1000, 98)
		begun := time.Now()
		f.MustRead(t, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, small)), small, oci.Fill)
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("a small blob took %s", took)
		}
		f.Settled(t)
		f.MustRead(t, largeRef, large, oci.Hit)
	})
}

// A fill finds no space in the middle, because the blobs to evict are being read. Its
// client gets all of it; the file that the client has open is counted until it is
// closed.
func TestNoSpaceInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1_000_000
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 10, most/10)
		large := ocitest.Content(700_000, 99)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, large))
		var m moods
		f := start(t, fake, budget(most), m.hooks, func(o *cachetest.Options) {
			o.Cache.Hooks.FillFailed = func(ref oci.Ref, err error) { t.Errorf("fill of %s failed: %v", ref, err) }
		})
		f.fillUp(t, refs, contents)
		cachetest.Pace(fake, 100_000)
		content, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		open := make([]*oci.Content, 0, 6)
		for i := range 6 {
			read, err := f.Open(t.Context(), refs[4+i])
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, read)
		}
		begin := make([]byte, 300_000)
		if _, err := io.ReadFull(content.Body, begin); err != nil {
			t.Fatal(err)
		}
		f.Settled(t) // there is space for 400,000 bytes of it
		fake.Wrap(nil)
		for _, read := range open {
			if err := read.Close(); err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			for i := range refs {
				if _, _, err := ocitest.Read(t.Context(), f, refs[i]); err != nil {
					t.Error(err)
				}
				f.Settled(t)
				if n := f.onDisk(t); n > most {
					t.Errorf("%d bytes on the disk, %d allowed", n, most)
				}
			}
		}
		rest, err := io.ReadAll(content.Body)
		if err != nil || !bytes.Equal(append(begin, rest...), large) {
			t.Errorf("%d bytes of %d, %v", len(begin)+len(rest), len(large), err)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		<-time.After(2 * time.Second)
		f.MustRead(t, ref, large, oci.Fill)
		f.Settled(t)
		if err := f.Cache.CheckAccounts(); err != nil {
			t.Error(err)
		}
		m.want(t) // the disk is not degraded
	})
}

package cache_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Nothing is evicted when that does not free enough space.
func TestNothingIsEvictedWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		big, bigC := blobs(t, fake, 1, 200_000)
		small := ocitest.Content(40_000, 50)
		smallRef := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, small))
		next := ocitest.Content(100_000, 51)
		nextRef := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, next))
		f := start(t, fake, budget(250_000))
		f.MustRead(t, smallRef, small, oci.Fill)
		f.Settled(t)
		f.MustRead(t, big[0], bigC[0], oci.Fill)
		f.Settled(t)
		read, err := f.Open(t.Context(), big[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = read.Close() }()
		f.MustRead(t, nextRef, next, oci.Pass)  // there is no space for it
		f.MustRead(t, smallRef, small, oci.Hit) // nothing was evicted for a blob that does not fit
		<-time.After(2 * time.Second)
	})
}

// The directory of fills is created again after somebody has removed it.
func TestNoFillsDirectory(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(1000, 1)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	f := start(t, fake)
	if err := os.RemoveAll(filepath.Join(f.Dir, "fills")); err != nil {
		t.Fatal(err)
	}
	f.MustRead(t, ref, blob, oci.Fill)
}

// Without a directory for fills, content bypasses the cache.
func TestFillsDirectoryCannotBeMade(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(1000, 1)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	f := start(t, fake)
	fills := filepath.Join(f.Dir, "fills")
	if err := errors.Join(os.RemoveAll(fills), os.WriteFile(fills, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f.MustRead(t, ref, blob, oci.Pass)
}

// stuck sends nothing until its context ends.
type stuck struct{ *ocitest.Fake }

type stuckBody struct{ ctx context.Context }

func (b stuckBody) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, context.Cause(b.ctx) }

func (b stuckBody) Close() error { return nil }

func (s stuck) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	c, err := s.Fake.Open(ctx, ref)
	if err == nil {
		c.Body = stuckBody{ctx}
	}
	return c, err
}

// A body that is handed off ends with its reader.
func TestHandoffEndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(200_000, 1)))
		f := start(t, fake, budget(100_000), func(o *cachetest.Options) { o.Cache.Next = stuck{fake} })
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		content, err := f.Open(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() { defer close(read); _, _ = content.Body.Read(make([]byte, 1)) }()
		select {
		case <-read:
		case <-time.After(time.Hour):
			t.Error("an hour after the client has left, its read still blocks")
		}
	})
}

// A blob that turns out to be larger than the cache bypasses it from its beginning and
// leaves nothing behind.
func TestUnknownSizeLargerThanTheCacheBypassesIt(t *testing.T) {
	fake := new(ocitest.Fake)
	large := ocitest.Content(48<<20, 99)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, large))
	fake.HideSize()
	f := start(t, fake, budget(40<<20))
	f.MustRead(t, ref, large, oci.Pass)
	f.Stop()
	if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if s := f.Stats(); s.Reserved != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// A blob of unknown size does not evict everything.
func TestUnknownSizeEvictsLittle(t *testing.T) {
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 5, 7<<20)
	large := ocitest.Content(48<<20, 99)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, large))
	f := start(t, fake, budget(40<<20))
	for i := range refs {
		f.MustRead(t, refs[i], contents[i], oci.Fill)
	}
	f.Stop() // so that all are stored
	fake.HideSize()
	f.Restart(t, budget(40<<20))
	f.MustRead(t, ref, large, oci.Pass)
	if n := f.Stats().Evictions; n > 2 {
		t.Errorf("%d of 5 blobs were evicted", n)
	}
}

// The cache may be smaller than the steps in which space is reserved.
func TestUnknownSizeInASmallCache(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(1000, 1)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	fake.HideSize()
	f := start(t, fake, budget(1_000_000))
	f.MustRead(t, ref, blob, oci.Fill)
}

// A client that began to read during the fill counts as a reader of the blob, too.
func TestFillBeingReadIsNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		f := start(t, fake, budget(250_000))
		read, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = read.Close() }()
		f.Settled(t)
		for i := 1; i < 4; i++ {
			<-time.After(time.Second)
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		f.MustRead(t, refs[0], contents[0], oci.Hit) // it was being read all the time
	})
}

// A resumed fill needs space for the rest only.
func TestResumeOnANarrowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(100_000, 1)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		var dir string
		f := start(t, fake, func(o *cachetest.Options) {
			dir = o.Cache.Parts
			o.Cache.Free = func() (int64, error) { // a disk of 120 kB
				free := int64(120_000)
				for _, name := range cachetest.Files(t, dir, "*") {
					if info, err := os.Stat(name); err == nil {
						free -= info.Size()
					}
				}
				return free, nil
			}
		})
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
			return &broken{ReadSeeker: body, left: 80_000, from: func(int64) {}}
		})
		if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil {
			t.Fatal("no error")
		}
		f.Settled(t)
		fake.Wrap(nil)
		f.MustRead(t, ref, blob, oci.Fill) // the missing 20 kB fit in the 40 kB that are free
		<-time.After(2 * time.Second)
	})
}

// unremovable is a Store that cannot remove files.
type unremovable struct{ cache.Store }

func (unremovable) Remove(context.Context, oci.Digest) error {
	return errors.New("read-only file system")
}

// A file that cannot be removed is reported.
func TestRemoveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		var damaged, stays atomic.Int32
		f := start(t, fake, budget(150_000), func(o *cachetest.Options) {
			o.Cache.Store = unremovable{o.Cache.Store}
			o.Cache.Hooks.Damaged = func(oci.Digest, error) { damaged.Add(1) }
			o.Cache.Hooks.RemoveFailed = func(oci.Digest, error) { stays.Add(1) }
		})
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		if damaged.Load() != 0 || stays.Load() != 3 {
			t.Errorf("%d reported as damaged, %d as not removed, want 0 and 3", damaged.Load(), stays.Load())
		}
	})
}

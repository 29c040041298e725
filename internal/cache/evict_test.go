package cache_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// budget limits the cache to n bytes.
func budget(n int64) func(*cachetest.Options) {
	return func(o *cachetest.Options) { o.Cache.Limits.MaxSize = n }
}

// blobs adds n blobs of size bytes to the fake.
func blobs(t *testing.T, fake *ocitest.Fake, n, size int) (refs []oci.Ref, contents [][]byte) {
	for i := range n {
		content := ocitest.Content(size, byte(i))
		refs = append(refs, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, content)))
		contents = append(contents, content)
	}
	return refs, contents
}

func TestLeastRecentlyUsedIsEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		f := start(t, fake, budget(350_000))
		for i := range 3 {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
			<-time.After(time.Second)
		}
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		f.MustRead(t, refs[3], contents[3], oci.Fill) // 1 is the oldest now
		f.Settled(t)
		for _, i := range []int{0, 2, 3} {
			f.MustRead(t, refs[i], contents[i], oci.Hit)
		}
		f.MustRead(t, refs[1], contents[1], oci.Fill)
		f.Settled(t)
		if s := f.Stats(); s.Bytes > 350_000 || s.Evictions != 2 || s.EvictedBytes != 200_000 || s.Reserved != 0 {
			t.Errorf("%+v", s)
		}
		if cached := cachetest.Files(t, f.Dir, "blobs", "*", "*", "*"); len(cached) != 3 {
			t.Errorf("%d files, want 3", len(cached))
		}
	})
}

// slowIndex takes a second for each record.
type slowIndex struct{ cache.Index }

func (ix slowIndex) PutBlobs(records ...cache.BlobRecord) error {
	<-time.After(time.Second)
	return ix.Index.PutBlobs(records...)
}

// A blob that is evicted before its record is written leaves no record: after a kill
// it would have no file.
func TestEvictedBeforeTheIndexKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 100_000)
		f := start(t, fake, budget(150_000), func(o *cachetest.Options) { o.Cache.Index = slowIndex{o.Cache.Index} })
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		synctest.Wait()
		f.MustRead(t, refs[1], contents[1], oci.Fill)
		<-time.After(time.Minute)
		if f.Stats().Evictions != 1 || !f.Index.Used(refs[0].Digest()).IsZero() || f.Index.Used(refs[1].Digest()).IsZero() {
			t.Errorf("after %d evictions the index has a record of the evicted blob, or none of the cached one", f.Stats().Evictions)
		}
	})
}

// The space of an evicted blob is not used before its file is off the disk, also when
// another fill has evicted it, and more than that fill needed.
func TestSpaceIsUsedOnlyAfterEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 250_000
		fake := new(ocitest.Fake)
		var refs []oci.Ref
		for i, size := range []int{200_000, 150_000, 90_000} {
			refs = append(refs, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(size, byte(i)))))
		}
		f := start(t, fake, budget(most), func(o *cachetest.Options) { o.Cache.Store = slowRemove{o.Cache.Store} })
		read := func(ref oci.Ref) {
			if _, result, err := ocitest.Read(t.Context(), f, ref); err != nil || result.Via != oci.Fill {
				t.Errorf("read %s: via %s, %v", ref, result.Via, err)
			}
		}
		read(refs[0])
		f.Settled(t)
		go read(refs[1]) // evicts it
		synctest.Wait()
		go read(refs[2])
		synctest.Wait()
		var total int64
		for _, path := range slices.Concat(cachetest.Files(t, f.Dir, "blobs", "*", "*", "*"), cachetest.Files(t, f.Dir, "fills", "*")) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > most {
			t.Errorf("%d bytes on the disk while one blob is being removed, %d allowed", total, most)
		}
		f.Settled(t)
		if n := f.Stats().Evictions; n != 1 {
			t.Errorf("%d evictions, want 1", n)
		}
	})
}

// A blob that is being read is not evicted, and its reader gets all of it.
func TestBlobBeingReadIsNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		f := start(t, fake, budget(250_000))
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		read, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(read.Body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < 4; i++ {
			<-time.After(time.Second)
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		rest, err := io.ReadAll(read.Body)
		if err = errors.Join(err, read.Close()); err != nil || !bytes.Equal(rest, contents[0][10:]) {
			t.Errorf("the reader got %d bytes, %v", len(rest), err)
		}
		f.MustRead(t, refs[0], contents[0], oci.Hit)
	})
}

// When everything is being read nothing can be evicted, and a new blob bypasses the cache.
func TestNothingToEvictBypassesTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 100_000)
		f := start(t, fake, budget(150_000))
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		read, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		f.MustRead(t, refs[1], contents[1], oci.Pass)
		if err := read.Close(); err != nil {
			t.Fatal(err)
		}
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		f.MustRead(t, refs[1], contents[1], oci.Fill)
	})
}

func TestLargerThanTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		small, contents := blobs(t, fake, 1, 50_000)
		large := ocitest.Content(200_000, 99)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, large))
		f := start(t, fake, budget(100_000))
		f.MustRead(t, small[0], contents[0], oci.Fill)
		f.Settled(t)
		for range 2 {
			f.MustRead(t, ref, large, oci.Pass)
		}
		if n := fake.Calls("Open", ref.Reference()); n != 2 {
			t.Errorf("%d fetches for 2 clients", n)
		}
		f.MustRead(t, small[0], contents[0], oci.Hit) // nothing was evicted for a blob that does not fit
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		<-time.After(2 * time.Second) // what was handed over and not taken is closed
	})
}

// MinFree is enforced as MaxSize is, also when something else fills the disk.
func TestFreeSpaceFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 100_000)
		var free atomic.Int64
		free.Store(450_000)
		f := start(t, fake, func(o *cachetest.Options) {
			o.Cache.Limits.MinFree = 300_000
			o.Cache.Free = func() (int64, error) { return free.Load(), nil }
		})
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		free.Store(350_000)
		f.MustRead(t, refs[1], contents[1], oci.Fill) // 0 makes room
		f.Settled(t)
		if s := f.Stats(); s.Entries != 1 || s.Evictions != 1 {
			t.Errorf("%+v, want one blob evicted for the other", s)
		}
		free.Store(250_000)
		<-time.After(time.Minute)
		if s := f.Stats(); s.Entries != 0 {
			t.Errorf("%+v, want MinFree enforced without a request", s)
		}
		f.MustRead(t, refs[2], contents[2], oci.Pass)
	})
}

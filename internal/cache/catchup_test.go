package cache_test

import (
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// closedIndex takes nothing and tells nothing while it is closed.
type closedIndex struct {
	*memoryIndex
	closed atomic.Bool
}

var errIndex = errors.New("the index is closed")

func (ix *closedIndex) PutBlobs(records ...cache.BlobRecord) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.memoryIndex.PutBlobs(records...)
}

func (ix *closedIndex) RemoveBlobs(ds ...oci.Digest) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.memoryIndex.RemoveBlobs(ds...)
}

func (ix *closedIndex) PutTag(r cache.TagRecord) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.memoryIndex.PutTag(r)
}

// While the index takes nothing the cache serves and says so once; when it takes
// something again it is told all that it has missed.
func TestIndexCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		tag, raw := ocitest.ManifestRef(t, "v1"), put(fake, "v1", 1)
		f := start(t, fake)
		f.stop()
		ix := &closedIndex{memoryIndex: f.index}
		var m moods
		f.restart(t, m.hooks, budget(350_000), func(o *cache.Options) { o.Index = ix })
		f.mustRead(t, refs[0], contents[0], oci.Fill)
		f.settled(t)
		ix.closed.Store(true)
		for i := range refs {
			f.mustRead(t, refs[i], contents[i], []oci.Via{oci.Hit, oci.Fill, oci.Fill, oci.Fill}[i])
			f.settled(t)
			<-time.After(time.Second)
		}
		f.mustRead(t, tag, raw, oci.Fill)
		<-time.After(time.Minute)
		m.want(t, "-index")
		if f.Stats().Troubles[cache.IndexTrouble] == nil {
			t.Error("the stats know of no trouble")
		}
		ix.closed.Store(false)
		<-time.After(time.Minute)
		m.want(t, "-index", "+index")
		f.stop()
		fake.Fail(down)
		f.restart(t, budget(350_000))
		synctest.Wait()
		if s := f.Stats(); s.Entries != 4 { // three of the blobs, the first was evicted, and the manifest
			t.Errorf("%d entries are remembered, want 4", s.Entries)
		}
		f.mustRead(t, tag, raw, oci.Stale)
		if n := len(f.index.blobs); n != 4 {
			t.Errorf("the index has %d records, want 4", n)
		}
	})
}

// An index that opens late, because the disk was full at the start, is asked
// then what it knows: files are believed that were found, and tags.
func TestIndexOpensLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, raw := ocitest.ManifestRef(t, "v1"), put(fake, "v1", 1)
		f := start(t, fake)
		f.mustRead(t, tag, raw, oci.Fill)
		f.stop()
		ix := &lateIndex{memoryIndex: f.index}
		var m moods
		f.restart(t, m.hooks, func(o *cache.Options) { o.Index = ix })
		fake.Fail(down)
		if _, _, err := ocitest.Read(t.Context(), f, tag); err == nil {
			t.Error("a tag is served that nobody has told of")
		}
		ix.open.Store(true)
		<-time.After(time.Minute)
		m.want(t, "-index", "+index")
		f.mustRead(t, tag, raw, oci.Stale)
	})
}

// lateIndex has no database until it is open.
type lateIndex struct {
	*memoryIndex
	open atomic.Bool
}

func (ix *lateIndex) Blobs() iter.Seq2[cache.BlobRecord, error] {
	if ix.open.Load() {
		return ix.memoryIndex.Blobs()
	}
	return func(yield func(cache.BlobRecord, error) bool) { yield(cache.BlobRecord{}, errIndex) }
}

func (ix *lateIndex) Tags() iter.Seq2[cache.TagRecord, error] {
	if ix.open.Load() {
		return ix.memoryIndex.Tags()
	}
	return func(yield func(cache.TagRecord, error) bool) { yield(cache.TagRecord{}, errIndex) }
}

func (ix *lateIndex) PutBlobs(records ...cache.BlobRecord) error {
	if ix.open.Load() {
		return ix.memoryIndex.PutBlobs(records...)
	}
	return errIndex
}

func (ix *lateIndex) PutTag(r cache.TagRecord) error {
	if ix.open.Load() {
		return ix.memoryIndex.PutTag(r)
	}
	return errIndex
}

package cache_test

import (
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// closedIndex fails to write while it is closed.
type closedIndex struct {
	*cachetest.Index
	closed atomic.Bool
}

var errIndex = errors.New("the index is closed")

func (ix *closedIndex) PutBlobs(records ...cache.BlobRecord) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.Index.PutBlobs(records...)
}

func (ix *closedIndex) RemoveBlobs(ds ...oci.Digest) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.Index.RemoveBlobs(ds...)
}

func (ix *closedIndex) PutTags(records ...tags.Record) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.Index.PutTags(records...)
}

// While the index cannot be written the cache serves and reports it once; when it can
// be written again, all that it has missed is written.
func TestIndexCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		tag, raw := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.Stop()
		ix := &closedIndex{Index: f.Index}
		var m moods
		f.Restart(t, m.hooks, budget(350_000), cachetest.WithIndex(ix))
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		ix.closed.Store(true)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], []oci.Via{oci.Hit, oci.Fill, oci.Fill, oci.Fill}[i])
			f.Settled(t)
			<-time.After(time.Second)
		}
		f.MustRead(t, tag, raw, oci.Fill)
		<-time.After(time.Minute)
		m.want(t, "-index")
		if f.Stats().Degraded[health.Index] == nil {
			t.Error("the index is not reported as degraded")
		}
		ix.closed.Store(false)
		<-time.After(time.Minute)
		m.want(t, "-index", "+index")
		f.Stop()
		fake.Fail(cachetest.Down)
		f.Restart(t, budget(350_000))
		synctest.Wait()
		if s := f.Stats(); s.Entries != 4 { // three of the blobs, the first was evicted, and the manifest
			t.Errorf("%d entries are remembered, want 4", s.Entries)
		}
		f.MustRead(t, tag, raw, oci.Stale)
		if n := len(f.Index.BlobRecords); n != 4 {
			t.Errorf("the index has %d records, want 4", n)
		}
	})
}

// An index that is opened late, because the disk was full at start-up, is read then:
// its records of tags, and of files that were found, are used.
func TestIndexOpensLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, raw := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		f.Stop()
		ix := &lateIndex{Index: f.Index}
		var m moods
		f.Restart(t, m.hooks, cachetest.WithIndex(ix))
		fake.Fail(cachetest.Down)
		if _, _, err := ocitest.Read(t.Context(), f, tag); err == nil {
			t.Error("a tag is served that is not known")
		}
		ix.open.Store(true)
		<-time.After(time.Minute)
		m.want(t, "-index", "+index")
		f.MustRead(t, tag, raw, oci.Stale)
	})
}

// lateIndex fails until it is open.
type lateIndex struct {
	*cachetest.Index
	open atomic.Bool
}

func (ix *lateIndex) Blobs() iter.Seq2[cache.BlobRecord, error] {
	if ix.open.Load() {
		return ix.Index.Blobs()
	}
	return func(yield func(cache.BlobRecord, error) bool) { yield(cache.BlobRecord{}, errIndex) }
}

func (ix *lateIndex) Tags() iter.Seq2[tags.Record, error] {
	if ix.open.Load() {
		return ix.Index.Tags()
	}
	return func(yield func(tags.Record, error) bool) { yield(tags.Record{}, errIndex) }
}

func (ix *lateIndex) PutBlobs(records ...cache.BlobRecord) error {
	if ix.open.Load() {
		return ix.Index.PutBlobs(records...)
	}
	return errIndex
}

func (ix *lateIndex) PutTags(records ...tags.Record) error {
	if ix.open.Load() {
		return ix.Index.PutTags(records...)
	}
	return errIndex
}

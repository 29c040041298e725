package cache_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"sync"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// breakage makes one method of a Store or an Index fail.
type breakage struct {
	mu      sync.Mutex // guards all below
	method  string     // empty: none
	applied bool       // it fails after it has taken effect
	struck  int
}

var errBroken = errors.New("broken by the test")

func (b *breakage) set(method string, applied bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.method, b.applied = method, applied
}

// times returns how often it has failed.
func (b *breakage) times() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.struck
}

// strikes reports whether method fails, before or after it takes effect.
func (b *breakage) strikes(method string) (before, after bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.method != method {
		return false, false
	}
	b.struck++
	return !b.applied, b.applied
}

// call runs act, the effect of method, unless method is to fail before it.
func (b *breakage) call(method string, act func() error) error {
	before, after := b.strikes(method)
	if before {
		return errBroken
	}
	if err := act(); err != nil || !after {
		return err
	}
	return errBroken
}

// breakAll yields all, or an error instead of it or after it.
func breakAll[V any](b *breakage, method string, all iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var none V
		before, after := b.strikes(method)
		if before {
			yield(none, errBroken)
			return
		}
		for v, err := range all {
			if !yield(v, err) {
				return
			}
		}
		if after {
			yield(none, errBroken)
		}
	}
}

type brokenStore struct {
	cache.Store
	*breakage
}

func (s brokenStore) Open(ctx context.Context, d oci.Digest) (r io.ReadSeekCloser, err error) {
	err = s.call("Store.Open", func() (err error) {
		r, err = s.Store.Open(ctx, d)
		return err
	})
	if err != nil && r != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, err
}

func (s brokenStore) Put(ctx context.Context, d oci.Digest, f *os.File) error {
	return s.call("Store.Put", func() error { return s.Store.Put(ctx, d, f) })
}

func (s brokenStore) Remove(ctx context.Context, d oci.Digest) error {
	return s.call("Store.Remove", func() error { return s.Store.Remove(ctx, d) })
}

func (s brokenStore) All(ctx context.Context) iter.Seq2[cache.Blob, error] {
	return breakAll(s.breakage, "Store.All", s.Store.All(ctx))
}

type brokenIndex struct {
	cachetest.FullIndex
	*breakage
}

func (ix brokenIndex) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return breakAll(ix.breakage, "Index.Blobs", ix.FullIndex.Blobs())
}

func (ix brokenIndex) Tags() iter.Seq2[tags.Record, error] {
	return breakAll(ix.breakage, "Index.Tags", ix.FullIndex.Tags())
}

func (ix brokenIndex) PutBlobs(records ...cache.BlobRecord) error {
	return ix.call("Index.PutBlobs", func() error { return ix.FullIndex.PutBlobs(records...) })
}

func (ix brokenIndex) RemoveBlobs(ds ...oci.Digest) error {
	return ix.call("Index.RemoveBlobs", func() error { return ix.FullIndex.RemoveBlobs(ds...) })
}

func (ix brokenIndex) PutTags(records ...tags.Record) error {
	return ix.call("Index.PutTags", func() error { return ix.FullIndex.PutTags(records...) })
}

func (ix brokenIndex) RemoveTags(refs ...oci.Ref) error {
	return ix.call("Index.RemoveTags", func() error { return ix.FullIndex.RemoveTags(refs...) })
}

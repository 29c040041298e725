package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// gated is a Store that reports once, late, that a blob is absent.
type gated struct {
	cache.Store
	late atomic.Bool
	gate chan struct{}
}

func (g *gated) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	r, err := g.Store.Open(ctx, d)
	if errors.Is(err, fs.ErrNotExist) && g.late.CompareAndSwap(true, false) {
		<-g.gate
	}
	return r, err
}

// Two clients find a file missing; one fetches it again before the other drops its entry.
func TestLateDropKeepsTheNewBlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(1000, 1)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		store := &gated{gate: make(chan struct{})}
		f := start(t, fake, func(o *cachetest.Options) { store.Store = o.Cache.Store; o.Cache.Store = store })
		f.MustRead(t, ref, blob, oci.Fill)
		f.Settled(t)
		for _, name := range cachetest.Files(t, f.Dir, "blobs", "*", "*", "*") {
			_ = os.Remove(name)
		}
		store.late.Store(true)
		slow := make(chan struct{})
		go func() { defer close(slow); _, _, _ = ocitest.Read(t.Context(), f, ref) }()
		synctest.Wait()
		f.MustRead(t, ref, blob, oci.Fill) // drops the entry and fetches again
		f.Settled(t)
		close(store.gate)
		<-slow
		f.Settled(t)
		if n := fake.Calls("Open", ref.Reference()); n != 2 {
			t.Errorf("%d fetches, want 2: the slow one dropped the good new blob", n)
		}
	})
}

// A manifest that was corrupted on disk is not served: it is hashed when it is read into
// memory.
func TestCorruptManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		f.Settled(t)
		f.Stop()
		name := cachetest.Files(t, f.Dir, "blobs", "*", "*", "*")[0]
		bad := bytes.Clone(raw)
		bad[3] ^= 1
		if err := os.WriteFile(name, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		f.Restart(t)
		got, result, err := ocitest.Read(t.Context(), f, tag)
		if !bytes.Equal(got, raw) {
			t.Errorf("a corrupt manifest was served: via %s, %v", result.Via, err)
		}
	})
}

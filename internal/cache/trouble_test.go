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
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// routed is a Registry whose requests to one upstream fail slowly.
type routed struct {
	*ocitest.Fake
	down string
}

func (r routed) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref.Upstream() == r.down {
		<-time.After(time.Second)
		return nil, cachetest.ErrDown
	}
	return r.Fake.Open(ctx, ref)
}

// The failure of a digest at one upstream does not affect another.
func TestOtherUpstreamDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(1000, 1)
		d := fake.AddBlob(ocitest.Repo, blob)
		good := ocitest.BlobRef(t, d)
		bad, err := oci.ParseBlob("down.example", ocitest.Repo, d.String())
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = routed{fake, "down.example"} })
		go func() { _, _, _ = ocitest.Read(t.Context(), f, bad) }()
		<-time.After(time.Millisecond)
		f.MustRead(t, good, blob, oci.Fill)
	})
}

// A tag that was checked while the clock was wrong is checked again.
func TestTagCheckedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		f.Settled(t)
		f.Stop()
		r := f.Index.TagRecords[tag]
		r.Checked = time.Now().Add(1000 * time.Hour) // the clock was wrong and has been corrected
		f.Index.TagRecords[tag] = r
		f.Restart(t)
		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(24 * time.Hour)
		f.MustRead(t, tag, newer, oci.Fill)
	})
}

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

// The response to a client that waits for a turn begins before containerd gives up.
func TestThirtyThirdBlobIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, _ := blobs(t, fake, 33, 1<<20)
		cachetest.Pace(fake, 16<<10) // 64 s each
		f := start(t, fake)
		for _, ref := range refs[:32] {
			c, err := f.Open(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close() // the clients leave
		}
		begun := time.Now()
		c, err := f.Open(t.Context(), refs[32])
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("response after %s; containerd gives up after 30 s", took)
		}
	})
}

// 100 ranges in one client's request do not cause 100 requests upstream.
func TestManyRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(8<<20, 1)))
		cachetest.Pace(fake, 1024)
		f := start(t, fake)
		c, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		body := c.Body.(io.ReadSeeker)
		var parts []oci.Span
		for i := range int64(100) {
			parts = append(parts, oci.Span{Begin: 1<<20 + i*4096, End: 1<<20 + i*4096 + 2})
		}
		c.Body.(oci.PartReader).ReadParts(parts)
		for i := range int64(100) {
			if _, err := body.Seek(1<<20+i*4096, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := body.Read(make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		}
		if n := fake.Calls("Open", ref.Reference()); n != 2 {
			t.Errorf("%d requests upstream for one client's request", n)
		}
	})
}

// Ranges far apart cause a limited number of requests upstream, and then wait for the
// fill.
func TestManyFarRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(8<<20, 1)))
		cachetest.Pace(fake, 16<<10)
		f := start(t, fake)
		c, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		body := c.Body.(io.ReadSeeker)
		var parts []oci.Span
		for i := range int64(24) {
			parts = append(parts, oci.Span{Begin: 1<<20 + i*300_000, End: 1<<20 + i*300_000 + 2})
		}
		c.Body.(oci.PartReader).ReadParts(parts)
		for i := range int64(24) {
			_, err := body.Seek(1<<20+i*300_000, io.SeekStart)
			if _, failed := body.Read(make([]byte, 2)); err != nil || failed != nil {
				t.Fatal(err, failed)
			}
		}
		if n := fake.Calls("Open", ref.Reference()); n != 17 {
			t.Errorf("%d requests upstream, want 16 besides that of the fill", n)
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

// A digest that is fetched as a manifest and as a blob stays a manifest.
func TestKindsOfOneDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := cachetest.Put(fake, "v1", 1)
		d := oci.FromBytes(raw)
		fake.AddBlob(ocitest.Repo, raw)
		cachetest.Pace(fake, 5)
		f := start(t, fake)
		m, b := ocitest.ManifestRef(t, d.String()), ocitest.BlobRef(t, d)
		c1, err := f.Open(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		c2, err := f.Open(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c1.Close(), c2.Close()
		f.Settled(t)
		f.MustRead(t, m, raw, oci.Hit)
	})
}

package cache_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A full disk on which only what is pinned could be evicted is a failing disk.
func TestFullOfPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(1 << 30)
		fake := new(ocitest.Fake)
		f := start(t, fake, func(o *cachetest.Options) {
			o.Cache.Free = func() (int64, error) { return free.Load(), nil }
		})
		pinned, other := ocitest.Content(100_000, 1), ocitest.Content(50_000, 2)
		d := fake.AddBlob(ocitest.Repo, pinned)
		f.MustRead(t, ocitest.BlobRef(t, d), pinned, oci.Fill)
		f.Settled(t)
		f.Cache.Pin(map[oci.Digest]struct{}{d: {}})
		free.Store(0)
		got, _, err := ocitest.Read(t.Context(), f, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, other)))
		if err != nil || string(got) != string(other) || f.Stats().Degraded[health.Disk] == nil {
			t.Errorf("%d bytes, %v, degraded: %v", len(got), err, f.Stats().Degraded)
		}
	})
}

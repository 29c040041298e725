//go:build e2e

package e2e

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// Each mirror of a fleet is killed in turn while it fetches for the clients of all. Those of
// the others notice nothing, its own get everything once it is back, and each kill costs one
// more fetch of the same content at most.
func TestFleetEachKilled(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	defer hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 256 << 10})()
	images := publishMany(t, hub, 16, 2, 512<<10)
	mirrors := startThree(t, hub, store)
	l := startLoad(t, images, 3, mirrors...)
	for i, m := range mirrors {
		m.process.await(t, time.Minute, func() bool { return m.metrics(t)["mirrord_fills_in_flight"] > 0 })
		l.killOne(i, 500*time.Millisecond)
	}
	l.clients.Wait()
	n := hub.Counters()
	most := slices.Max(slices.Collect(maps.Values(n.BlobGETsByDigest)))
	t.Logf("%d pulls were repeated; %d manifests of %d and %d blobs were fetched, one of them %d times; %d takeovers",
		l.broken.Load(), n.ManifestGETs, len(images), n.BlobGETs, most, sum(t, "mirrord_fleet_fetches_total", `role="takeover"`, mirrors...))
	store.wantShared(t, images, mirrors...)
}

// Docker Hub counts one pull of each manifest, however many mirrors want it at once, are
// killed and started again, join later or lose their disks.
func TestFleetCountedOnce(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	images := publishMany(t, hub, 8, 1, 64<<10)
	mirrors := []*mirror{startSharing(t, hub, store), startSharing(t, hub, store)}
	pullAll := func(of []*mirror, images ...image) {
		t.Helper()
		startLoad(t, images, 3, of...).clients.Wait()
		store.wantShared(t, images, of...)
	}
	pullAll(mirrors, images[:6]...)
	for _, m := range mirrors {
		m.process.kill()
		m.start(t)
		m.awaitSharing(t)
	}
	pullAll(mirrors, images...)
	mirrors[0].process.kill()
	if err := os.RemoveAll(mirrors[0].home.path("cache")); err != nil {
		t.Fatal(err)
	}
	mirrors[0].start(t)
	mirrors[0].awaitSharing(t)
	pullAll(append(mirrors, startSharing(t, hub, store)), images...)
	var manifests, blobs []string
	for _, img := range images {
		manifests, blobs = append(manifests, img.manifests...), append(blobs, img.blobs...)
	}
	n := hub.Counters()
	diff(t, "manifest GETs by digest", once(manifests), n.ManifestGETsByDigest)
	diff(t, "blob GETs from the first byte by digest", once(blobs), n.BlobGETsByDigest)
}

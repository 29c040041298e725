//go:build e2e

package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// Sixty clients want an image that nobody has, from three mirrors and then from one: the
// upstream sends each byte once, and the fleet costs the last client hardly any time.
func TestFleetHerd(t *testing.T) {
	const clients = 60
	hub, store := startHub(t), startStore(t)
	defer hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 256 << 10})()
	img := publishLayers(t, hub, 20, 256<<10)
	herd := func(phase string, mirrors ...*mirror) time.Duration {
		t.Helper()
		begun := time.Now()
		n := spent(t, hub, mirrors[0], phase, func() {
			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					if err := mirrors[i%len(mirrors)].pullImage(img); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		})
		took := time.Since(begun)
		diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
		diff(t, "blob GETs from the first byte by digest", once(img.blobs), n.BlobGETsByDigest)
		if n.CDNBytes != img.size {
			t.Errorf("%s: the CDN sent %d bytes, want %d: each blob once", phase, n.CDNBytes, img.size)
		}
		return took
	}
	alone := herd("one mirror", startMirror(t, hub))
	mirrors := startThree(t, hub, store)
	together := herd("three", mirrors...)
	ratio := together.Seconds() / alone.Seconds()
	t.Logf("the last of %d clients: %.2f s with one mirror, %.2f s with three, ratio %.2f", clients, alone.Seconds(), together.Seconds(), ratio)
	if ratio > 1.5 { // 0.93 to 1.14 in twelve runs, most of them on a busy machine: the CDN sets the pace
		t.Errorf("three mirrors take %.2f times as long as one", ratio)
	}
	roles := ""
	for _, role := range []string{"holder", "waiter", "takeover", "alone"} {
		roles += fmt.Sprintf(" %d %s", sum(t, "mirrord_fleet_fetches_total", `role="`+role+`"`, mirrors...), role)
	}
	t.Logf("fetches:%s", roles)
}

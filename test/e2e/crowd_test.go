//go:build e2e

package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// Many clients pull one uncached image at once. The hub sees the requests of one.
func TestCrowd(t *testing.T) {
	const clients = 32
	hub := startHub(t)
	m := startMirror(t, hub)
	c := newSkopeo(t, debian12, m.address)
	img := publishLayers(t, hub, 10, 128<<10)
	hub.Inject(hubsim.Fault{Op: "cdn", Latency: 200 * time.Millisecond, Bandwidth: 256 << 10}) // so that they meet

	n := spent(t, hub, m, "crowd", func() {
		var crowd sync.WaitGroup
		for i := range clients {
			crowd.Go(func() {
				if err := c.copy(img.ref, c.home.path("crowd", fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		crowd.Wait()
	})
	diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
	diff(t, "blob GETs by digest", once(img.blobs), n.BlobGETsByDigest)
	if n.CDNBytes != img.size {
		t.Errorf("the CDN sent %d bytes, want %d: each blob once", n.CDNBytes, img.size)
	}
	eventually(t, 5*time.Second, "the mirror counts every blob of every client", func() bool {
		return m.served(t)["blob"] == clients*len(img.blobs)
	})
}

//go:build e2e

package e2e

import "testing"

// Another pull-through cache in front of the mirror gets from it what it would get from
// Docker Hub: cold, warm, and while Docker Hub is down.
func TestDistributionInFrontOfMirror(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	front := startDistribution(t, `proxy: {remoteurl: "`+m.url()+`"}`)
	c := newSkopeo(t, debian12, parseURL(t, front).Host)
	img := publishLayers(t, hub, 4, 512<<10)
	n := spent(t, hub, m, "cold", func() {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
	})
	check(t, c, img)
	diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
	diff(t, "blob GETs from the first byte by digest", once(img.blobs), n.BlobGETsByDigest)
	c.remove(t, img.ref)
	hub.Down()
	spent(t, hub, m, "hub down", func() {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
	})
	check(t, c, img)
}

//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"mirrord/internal/hubsim"
)

// The connection to the CDN breaks once in each layer. The client does not notice: it
// requests each blob once and gets all of it.
func TestUpstreamDropsEveryLayerOnce(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	c := newSkopeo(t, debian12, m.address)
	img := publishLayers(t, hub, 8, 512<<10)
	layers := img.blobs[1:]
	for _, layer := range layers {
		hub.Inject(hubsim.Fault{Op: "cdn", Match: encoded(layer), DropAfter: 200 << 10, Times: 1})
	}

	n := spent(t, hub, m, "drops", func() {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
	})
	check(t, c, img)
	diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
	diff(t, "blob GETs from the first byte by digest", once(img.blobs), n.BlobGETsByDigest)
	if n.RangeGETs != len(layers) {
		t.Errorf("the hub was asked for %d ranges, want %d: the rest of each layer", n.RangeGETs, len(layers))
	}
	if served := m.served(t)["blob"]; served > len(img.blobs) {
		t.Errorf("the client requested %d blobs, want %d: it has noticed the drops", served, len(img.blobs))
	}
}

// A byte of a layer from the CDN is wrong. The client does not get an image, and the
// corrupt layer is never served from the cache.
func TestUpstreamSendsWrongByte(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	c := newSkopeo(t, debian12, m.address)
	img := publishLayers(t, hub, 4, 512<<10)
	bad := img.blobs[2]
	heal := hub.Inject(hubsim.Fault{Op: "cdn", Match: encoded(bad), FlipAt: new(int64(100 << 10))})

	spent(t, hub, m, "wrong byte", func() {
		err := c.pull(img.ref)
		if err == nil {
			t.Fatal("the pull succeeded")
		}
		t.Logf("the client's error: %v", err)
	})
	c.remove(t, img.ref)

	url := m.url() + "/v2/library/layers/blobs/" + bad
	for range 20 { // also for a client that does not check digests
		if n, ok := fetch(t, url); ok {
			t.Fatalf("a client got all %d bytes of a wrong blob", n)
		}
	}
	hub.Down() // now there is only the cache
	if n, ok := fetch(t, url); ok {
		t.Errorf("the cache has %d bytes as %s, want nothing", n, bad)
	}
	if err := hub.Up(); err != nil {
		t.Fatal(err)
	}

	heal()
	n := spent(t, hub, m, "healed", func() {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
	})
	check(t, c, img)
	if n.ManifestGETs != 0 {
		t.Errorf("the second pull cost %d manifest GETs, want 0", n.ManifestGETs)
	}
	if got := n.BlobGETsByDigest[bad]; got != 1 {
		t.Errorf("the layer was downloaded %d times after the fault, want 1", got)
	}
}

// fetch returns how many bytes of a body arrived, and whether it was complete.
func fetch(t *testing.T, url string) (int64, bool) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	return n, err == nil && answer.StatusCode == http.StatusOK
}

// encoded returns the part of a digest that is in the URLs of the CDN.
func encoded(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex
}

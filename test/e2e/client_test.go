//go:build e2e

package e2e

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/hubsim"
)

// client is a client that pulls from docker.io and is configured for the mirror.
type client interface {
	// pull pulls an image as a user would.
	pull(ref string) error
	// id returns the digest of the configuration of a pulled image, "" for a client
	// that does not report it.
	id(t *testing.T, img image) string
	// file reads a file of a pulled image, from its last layer.
	file(t *testing.T, img image) []byte
	// remove removes an image with all its content.
	remove(t *testing.T, ref string)
}

// exercise pulls images, by tag and by digest, into an empty client: with a cold cache,
// with a warm one, with the hub's quota used up, and with the hub down. The first time
// costs what it must, the others cost nothing. Content that is not cached is refused in
// the last two cases, and a client with showsReason shows why.
func exercise(t *testing.T, hub *hubsim.Hub, m *mirror, c client, showsReason bool) {
	t.Helper()
	images := append(publishAll(t, hub), publishPinned(t, hub, "pinned", 3))
	never, neither := publishOne(t, hub, "never", 4), publishOne(t, hub, "neither", 5)
	var manifests, blobs []string
	for _, img := range images {
		manifests = append(manifests, img.manifests...)
		blobs = append(blobs, img.blobs...)
	}

	cold := spent(t, hub, m, "cold", func() { pullAll(t, c, images) })
	diff(t, "manifest GETs by digest, cold", once(manifests), cold.ManifestGETsByDigest)
	diff(t, "blob GETs by digest, cold", once(blobs), cold.BlobGETsByDigest)

	free(t, hub, m, c, "warm", images)
	heal := hub.Inject(hubsim.Fault{Op: "manifest", PullLimit: true})
	free(t, hub, m, c, "quota gone", images)
	if message := refused(t, hub, m, c, "quota gone", never); showsReason != strings.Contains(message, "docker.io limits pulls until") {
		t.Errorf("the client shows the reason: %v, want %v: see docs/clients.md", !showsReason, showsReason)
	}
	heal()
	hub.Down()
	free(t, hub, m, c, "hub down", images)
	refused(t, hub, m, c, "hub down", neither)
}

// free pulls cached images, which costs nothing at the hub.
func free(t *testing.T, hub *hubsim.Hub, m *mirror, c client, phase string, images []image) {
	t.Helper()
	time.Sleep(tagsFresh + tagsFresh/10) // the daemon wants to ask about the tags
	before := m.served(t)
	n := spent(t, hub, m, phase, func() { pullAll(t, c, images) })
	if n.ManifestGETs != 0 || n.BlobGETs != 0 || n.CDNBytes != 0 {
		t.Errorf("%s: cost %d manifest GETs, %d blob GETs and %d bytes of blobs, want nothing",
			phase, n.ManifestGETs, n.BlobGETs, n.CDNBytes)
	}
	var manifests, blobs int
	for _, img := range images {
		manifests, blobs = manifests+len(img.manifests), blobs+len(img.blobs)
	}
	// The client starts empty: everything comes from the mirror.
	eventually(t, 5*time.Second, phase+": the mirror counts every manifest and blob", func() bool {
		after := m.served(t)
		return after["manifest"]-before["manifest"] >= manifests && after["blob"]-before["blob"] >= blobs
	})
}

// refused pulls an image that is not available, and returns the client's error.
func refused(t *testing.T, hub *hubsim.Hub, m *mirror, c client, phase string, img image) (message string) {
	t.Helper()
	spent(t, hub, m, phase, func() {
		err := c.pull(img.ref)
		if err == nil {
			t.Fatalf("%s: %s was pulled", phase, img.ref)
		}
		message = err.Error()
		t.Logf("%s: the client's error: %s", phase, message)
	})
	return message
}

// pullAll pulls images, checks them, and removes them.
func pullAll(t *testing.T, c client, images []image) {
	t.Helper()
	for _, img := range images {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
		check(t, c, img)
	}
	for _, img := range images {
		c.remove(t, img.ref)
	}
}

// check checks that the client has the image of the hub.
func check(t *testing.T, c client, img image) {
	t.Helper()
	if id := c.id(t, img); id != img.id && id != "" {
		t.Errorf("%s has the configuration %s, want %s", img.ref, id, img.id)
	}
	if content := c.file(t, img); !bytes.Equal(content, img.content) {
		t.Errorf("%s: /%s has %d bytes, want different %d", img.ref, img.file, len(content), len(img.content))
	}
}

// spent returns, and logs, what an action cost at the hub.
func spent(t *testing.T, hub *hubsim.Hub, m *mirror, phase string, action func()) hubsim.Counters {
	t.Helper()
	hub.Reset()
	before := m.served(t)
	began := time.Now()
	action()
	took := time.Since(began)
	after, n := m.served(t), hub.Counters()
	t.Logf("%-12s %6.2fs  mirror served %d manifests %d blobs; hub: %d requests, %d manifest GETs, %d HEADs, %d blob GETs, %d of ranges, %d bytes from the CDN",
		phase, took.Seconds(), after["manifest"]-before["manifest"], after["blob"]-before["blob"],
		n.Requests, n.ManifestGETs, n.ManifestHEADs, n.BlobGETs, n.RangeGETs, n.CDNBytes)
	if n.CDNAuthorization != 0 {
		t.Errorf("%s: %d requests sent the registry's token to the CDN", phase, n.CDNAuthorization)
	}
	return n
}

func diff[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

//go:build e2e

package e2e

import (
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// The daemon is killed during a pull and restarted with the same cache. Complete content
// is still cached, incomplete content is resumed or downloaded again, and nothing
// incomplete is served as complete.
func TestKilledDuringPull(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	c := newPodman(t, debian12, m.address)
	img := publishLayers(t, hub, 6, 1<<20)
	hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 512 << 10}) // of each download; podman has six at once

	before := spent(t, hub, m, "killed", func() {
		pulled := make(chan error, 1)
		go func() { pulled <- c.pull(img.ref) }()
		eventually(t, time.Minute, "half of the image has been downloaded", func() bool {
			select {
			case err := <-pulled:
				t.Fatalf("the pull ended before the daemon was killed: %v", err)
			default:
			}
			return hub.Counters().CDNBytes > img.size/2
		})
		m.process.kill()
		if err := <-pulled; err == nil {
			t.Fatal("the client did not notice that the daemon died")
		}
		m.start(t)
	})

	after := spent(t, hub, m, "restarted", func() {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
	})
	check(t, c, img)
	if after.ManifestGETs != 0 {
		t.Errorf("after the restart the pull cost %d manifest GETs, want 0", after.ManifestGETs)
	}
	if blobs := 7; after.BlobGETs > blobs { // six layers and the config
		t.Errorf("after the restart %d downloads were begun, want at most %d", after.BlobGETs, blobs)
	}
	if again := before.CDNBytes + after.CDNBytes - img.size; again > img.size/4 {
		t.Errorf("%d bytes of %d were downloaded twice", again, img.size)
	}
	c.remove(t, img.ref)

	hub.Down()
	spent(t, hub, m, "hub down", func() {
		if err := c.pull(img.ref); err != nil {
			t.Fatal(err)
		}
	})
	check(t, c, img)
}

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/internal/hubsim"
)

// Images that one mirror exports are pulled at a site whose mirror reaches no registry.
func TestAirgap(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		hub := startHub(t)
		images := publishAll(t, hub)
		online := startMirror(t, hub)
		pullAll(t, newPodman(t, from, online.address), images)
		h := newHome(t)
		h.must(t, program, "export", "--admin-listen", online.admin, "**", "-o", h.path("images.tar"))
		online.process.end(t)
		hub.Down()

		site := startMirror(t, hub)
		h.must(t, program, "import-archive", "--admin-listen", site.admin, h.path("images.tar"))
		pullAll(t, newPodman(t, from, site.address), images)
	})
}

// An archive of skopeo is imported by the name that is given to it.
func TestImportSkopeo(t *testing.T) {
	hub := startHub(t)
	img := publishOne(t, hub, "app", 1)
	h := debian12.home(t, "skopeo")
	from := "docker://" + strings.TrimPrefix(hub.URL(), "http://") + "/library/app:v1"
	h.must(t, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", from, "oci-archive:"+h.path("app.tar"))
	hub.Down()
	site := startMirror(t, hub)
	h.must(t, program, "import-archive", "--admin-listen", site.admin, "--as", img.ref, h.path("app.tar"))
	pullAll(t, newPodman(t, debian12, site.address), []image{img})
}

// The cache of distribution is taken over, by hard links, with the hub down.
func TestImportDistribution(t *testing.T) {
	hub := startHub(t)
	images := publishAll(t, hub)
	url, dir, old := startDistributionIn(t, `proxy: {remoteurl: "`+hub.URL()+`"}`)
	pullAll(t, newPodman(t, debian12, strings.TrimPrefix(url, "http://")), images)
	old.end(t)
	hub.Down()

	site := startMirror(t, hub)
	h := newHome(t)
	out := h.must(t, program, "import", "--admin-listen", site.admin, "--json", dir)
	if strings.Contains(out, `"error"`) || !strings.Contains(out, `"linked"`) {
		t.Errorf("import: %s", out)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "docker/registry/v2/blobs/sha256/*/*/data")); len(files) == 0 {
		t.Error("the registry has cached nothing")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	site.process.end(t)
	site.start(t)
	spentNothing(t, hub, func() { pullAll(t, newPodman(t, debian12, site.address), images) })
}

// spentNothing fails when action costs something at the hub.
func spentNothing(t *testing.T, hub *hubsim.Hub, action func()) {
	t.Helper()
	hub.Reset()
	action()
	if n := hub.Counters().ManifestGETs; n > 0 {
		t.Errorf("%d manifest GETs", n)
	}
}

//go:build e2e

package e2e

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// TestTools is about programs that copy images into OCI layouts. They are built
// from the Go module proxy, so their versions are pinned.
func TestTools(t *testing.T) {
	for name, start := range map[string]func(*testing.T, ...string) *layouts{
		"crane": newCrane, "oras": newOras, "regctl": newRegctl,
	} {
		t.Run(name, func(t *testing.T) {
			hub := startHub(t)
			m := startMirror(t, hub)
			exercise(t, hub, m, start(t, m.address), true)
		})
	}
}

// layouts is a program that copies images of linux/amd64 into directories.
type layouts struct {
	tool
	copy func(ref, dir string) []string // the arguments
}

// dir returns the directory for an image.
func (l *layouts) dir(ref string) string {
	return l.home.path("images", strings.NewReplacer("/", "_", ":", "_", "@", "_").Replace(ref))
}

func (l *layouts) pull(ref string) error {
	if err := os.MkdirAll(l.home.path("images"), 0o755); err != nil {
		return err
	}
	_, err := l.run(l.copy(ref, l.dir(ref))...)
	return err
}

// image reads the only image of a layout.
func (l *layouts) image(t *testing.T, ref string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(l.dir(ref))
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Manifests) != 1 {
		t.Fatalf("the layout of %s has %d manifests, want 1", ref, len(list.Manifests))
	}
	img, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (l *layouts) id(t *testing.T, img image) string {
	t.Helper()
	id, err := l.image(t, img.ref).ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

func (l *layouts) file(t *testing.T, img image) []byte {
	t.Helper()
	layers, err := l.image(t, img.ref).Layers()
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := layers[len(layers)-1].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer compressed.Close()
	unpacked, err := gzip.NewReader(compressed)
	if err != nil {
		t.Fatal(err)
	}
	_, content := lastFile(t, unpacked)
	return content
}

func (l *layouts) remove(t *testing.T, ref string) {
	t.Helper()
	if err := os.RemoveAll(l.dir(ref)); err != nil {
		t.Fatal(err)
	}
}

// at returns the name of an image of Docker Hub at the mirror, for programs that do not
// support mirrors.
func at(mirror, ref string) string { return mirror + strings.TrimPrefix(ref, "docker.io") }

func newCrane(t *testing.T, mirrors ...string) *layouts {
	t.Helper()
	return startCrane(t, func(ref string) string { return at(mirrors[0], ref) })
}

// startCrane returns one that pulls each reference by another name.
func startCrane(t *testing.T, name func(ref string) string) *layouts {
	t.Helper()
	c := modules.home(t, "crane").tool(modules.path("crane"), "--platform", "linux/amd64")
	modules.ran(t, "crane "+c.must(t, "version"))
	return &layouts{c, func(ref, dir string) []string {
		return []string{"pull", "--format", "oci", name(ref), dir}
	}}
}

func newOras(t *testing.T, mirrors ...string) *layouts {
	t.Helper()
	return startOras(t, func(ref string) string { return at(mirrors[0], ref) })
}

// startOras is startCrane for oras.
func startOras(t *testing.T, name func(ref string) string) *layouts {
	t.Helper()
	c := modules.home(t, "oras").tool(modules.path("oras"))
	modules.ran(t, "oras "+c.must(t, "version"))
	return &layouts{c, func(ref, dir string) []string {
		return []string{"copy", "--from-plain-http", "--platform", "linux/amd64", name(ref), "--to-oci-layout", dir + ":v1"}
	}}
}

// newRegctl returns regctl, the only one of them that supports mirrors.
func newRegctl(t *testing.T, mirrors ...string) *layouts {
	t.Helper()
	return startRegctl(t, map[string]string{"docker.io": "registry-1.docker.io"}, mirrors)
}

// startRegctl returns regctl with mirrors of all registries, which have these hosts.
func startRegctl(t *testing.T, registries map[string]string, mirrors []string) *layouts {
	t.Helper()
	h := modules.home(t, "regctl")
	hosts := make(map[string]any)
	for registry, host := range registries {
		hosts[registry] = map[string]any{"hostname": host, "mirrors": mirrors, "priority": len(mirrors)}
	}
	for i, mirror := range mirrors {
		hosts[mirror] = map[string]any{"tls": "disabled", "priority": i} // the lowest is asked first
	}
	config, err := json.Marshal(map[string]any{"hosts": hosts})
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, ".regctl/config.json", string(config))
	c := h.tool(modules.path("regctl"))
	modules.ran(t, "regctl "+c.must(t, "version", "--format", "{{.VCSTag}}"))
	return &layouts{c, func(ref, dir string) []string {
		return []string{"image", "copy", "--platform", "linux/amd64", ref, "ocidir://" + dir + ":v1"}
	}}
}

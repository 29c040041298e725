//go:build e2e

package e2e

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestSkopeo(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		hub := startHub(t)
		m := startMirror(t, hub)
		exercise(t, hub, m, newSkopeo(t, from, m.address), from == newest)
	})
}

// skopeo is a client that copies images into directories.
type skopeo struct{ tool }

func newSkopeo(t *testing.T, from release, mirrors ...string) *skopeo {
	t.Helper()
	return startSkopeo(t, from, map[string][]string{"docker.io": mirrors})
}

// startSkopeo returns one with mirrors of several registries.
func startSkopeo(t *testing.T, from release, mirrors map[string][]string) *skopeo {
	t.Helper()
	h := from.home(t, "skopeo")
	from.ran(t, h.must(t, "skopeo", "--version"))
	registries, policy := containersConfig(t, h, mirrors)
	return &skopeo{h.tool("skopeo", "--policy", policy, "--registries-conf", registries)}
}

// containersConfig configures the programs of github.com/containers for the mirrors of
// registries.
func containersConfig(t *testing.T, h *home, mirrors map[string][]string) (registries, policy string) {
	t.Helper()
	config := "unqualified-search-registries = []\n"
	for registry, all := range mirrors {
		config += `
[[registry]]
prefix = "` + registry + `"
location = "` + registry + `"
`
		for _, mirror := range all {
			config += `
[[registry.mirror]]
location = "` + mirror + `"
insecure = true
`
		}
	}
	registries = h.write(t, "registries.conf", config)
	policy = h.write(t, "policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	return registries, policy
}

// dir returns the directory for an image.
func (s *skopeo) dir(ref string) string {
	return s.home.path("images", strings.NewReplacer("/", "_", ":", "_").Replace(ref))
}

func (s *skopeo) pull(ref string) error { return s.copy(ref, s.dir(ref)) }

// copy can run concurrently, each time with its own directory.
func (s *skopeo) copy(ref, dir string) error {
	if err := os.MkdirAll(path.Dir(dir), 0o755); err != nil {
		return err
	}
	_, err := s.run("copy", "--quiet", "docker://"+ref, "dir:"+dir)
	return err
}

func (s *skopeo) manifest(t *testing.T, ref string) *v1.Manifest {
	t.Helper()
	content, err := os.ReadFile(path.Join(s.dir(ref), "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func (s *skopeo) id(t *testing.T, img image) string {
	t.Helper()
	return s.manifest(t, img.ref).Config.Digest.String()
}

func (s *skopeo) file(t *testing.T, img image) []byte {
	t.Helper()
	layers := s.manifest(t, img.ref).Layers
	layer, err := os.Open(path.Join(s.dir(img.ref), layers[len(layers)-1].Digest.Hex))
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	unpacked, err := gzip.NewReader(layer)
	if err != nil {
		t.Fatal(err)
	}
	_, content := lastFile(t, unpacked)
	return content
}

func (s *skopeo) remove(t *testing.T, ref string) {
	t.Helper()
	if err := os.RemoveAll(s.dir(ref)); err != nil {
		t.Fatal(err)
	}
}

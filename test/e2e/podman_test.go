//go:build e2e

package e2e

import (
	"os"
	"path"
	"slices"
	"testing"
)

func TestPodman(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		hub := startHub(t)
		m := startMirror(t, hub)
		exercise(t, hub, m, newPodman(t, from, m.address), from == newest)
	})
}

// podman stores images in its own storage.
type podman struct {
	tool
	policy string
	flags  []string // of a pull
}

func newPodman(t *testing.T, from release, mirrors ...string) *podman {
	t.Helper()
	return startPodman(t, from, map[string][]string{"docker.io": mirrors})
}

// startPodman returns one with mirrors of several registries.
func startPodman(t *testing.T, from release, mirrors map[string][]string) *podman {
	t.Helper()
	h := from.home(t, "podman")
	from.ran(t, h.must(t, "podman", "--version"))
	registries, policy := containersConfig(t, h, mirrors)
	h.env = append(h.env, "CONTAINERS_REGISTRIES_CONF="+registries)
	return &podman{policy: policy, tool: h.tool("podman", "--root", h.path("root"), "--runroot", h.path("run"), "--tmpdir", h.path("tmp"),
		"--network-config-dir", h.path("networks"),
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none")}
}

func (p *podman) pull(ref string) error {
	_, err := p.run(slices.Concat([]string{"pull", "--quiet", "--signature-policy", p.policy}, p.flags, []string{ref})...)
	return err
}

func (p *podman) id(t *testing.T, img image) string {
	t.Helper()
	return "sha256:" + p.must(t, "image", "inspect", "--format", "{{.Id}}", img.ref)
}

func (p *podman) file(t *testing.T, img image) []byte {
	t.Helper()
	root := p.must(t, "image", "mount", img.ref)
	content, err := os.ReadFile(path.Join(root, img.file))
	if err != nil {
		t.Fatal(err)
	}
	p.must(t, "image", "unmount", img.ref)
	return content
}

func (p *podman) remove(t *testing.T, ref string) {
	t.Helper()
	p.must(t, "image", "rm", "--force", ref)
}

//go:build e2e

package e2e

import (
	"os"
	"path"
	"testing"
)

func TestBuildah(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	exercise(t, hub, m, newBuildah(t, m.address), true)
}

// buildah stores images as podman does, but retries differently.
type buildah struct {
	tool
	policy string
}

func newBuildah(t *testing.T, mirrors ...string) *buildah {
	t.Helper()
	return startBuildah(t, map[string][]string{"docker.io": mirrors})
}

// startBuildah returns one with mirrors of several registries.
func startBuildah(t *testing.T, mirrors map[string][]string) *buildah {
	t.Helper()
	h := newest.home(t, "buildah")
	newest.ran(t, h.must(t, "buildah", "--version"))
	registries, policy := containersConfig(t, h, mirrors)
	return &buildah{policy: policy, tool: h.tool("buildah", "--root", h.path("root"), "--runroot", h.path("run"),
		"--storage-driver", "vfs", "--registries-conf", registries)}
}

func (b *buildah) pull(ref string) error {
	_, err := b.run("pull", "--quiet", "--signature-policy", b.policy, ref)
	return err
}

func (b *buildah) id(t *testing.T, img image) string {
	t.Helper()
	return "sha256:" + b.must(t, "inspect", "--type", "image", "--format", "{{.FromImageID}}", img.ref)
}

func (b *buildah) file(t *testing.T, img image) []byte {
	t.Helper()
	container := b.must(t, "from", "--pull-never", "--signature-policy", b.policy, img.ref)
	content, err := os.ReadFile(path.Join(b.must(t, "mount", container), img.file))
	if err != nil {
		t.Fatal(err)
	}
	b.must(t, "rm", container)
	return content
}

func (b *buildah) remove(t *testing.T, ref string) {
	t.Helper()
	b.must(t, "rmi", "--force", ref)
}

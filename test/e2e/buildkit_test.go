//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestBuildKit(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	exercise(t, hub, m, newBuildKit(t, m.address), true)
}

// buildKit is a daemon with which buildctl builds an image from nothing but a base
// image.
type buildKit struct{ tool }

func newBuildKit(t *testing.T, mirrors ...string) *buildKit {
	t.Helper()
	return startBuildKit(t, map[string][]string{"docker.io": mirrors})
}

// startBuildKit starts one with mirrors of several registries.
func startBuildKit(t *testing.T, mirrors map[string][]string) *buildKit {
	t.Helper()
	var lines string
	for registry, all := range mirrors {
		lines += fmt.Sprintf("[registry.%q]\nmirrors = [%s]\n", registry, quoted(all))
	}
	return configureBuildKit(t, lines)
}

// configureBuildKit starts one with a buildkitd.toml.
func configureBuildKit(t *testing.T, toml string) *buildKit {
	t.Helper()
	h := modules.home(t, "buildkitd", "buildctl")
	socket := "unix://" + h.path("buildkitd.sock")
	b := &buildKit{h.tool(modules.path("buildctl"), "--addr", socket)}
	config := h.write(t, "buildkitd.toml", toml)
	h.start(t, modules.path("buildkitd"), "--config", config, "--addr", socket, "--root", h.path("root"),
		"--oci-worker-snapshotter", "native", "--containerd-worker=false").await(t, readyWithin, func() bool {
		_, err := b.run("debug", "workers")
		return err == nil
	})
	info, err := os.ReadFile(modules.path("buildkitd.version"))
	if err != nil {
		t.Fatal(err)
	}
	modules.ran(t, "buildkitd "+string(info[strings.LastIndexByte(string(info), 64)+1:]))
	return b
}

// quoted returns the elements of a list in TOML.
func quoted(words []string) string {
	return `"` + strings.Join(words, `", "`) + `"`
}

func (b *buildKit) dir(ref string) string {
	return b.home.path("images", strings.NewReplacer("/", "_", ":", "_", "@", "_").Replace(ref))
}

func (b *buildKit) pull(ref string) error {
	context := b.home.path("context")
	if err := os.MkdirAll(context, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(context+"/Dockerfile", []byte("FROM "+ref+"\n"), 0o644); err != nil {
		return err
	}
	_, err := b.run("build", "--progress", "plain", "--frontend", "dockerfile.v0", "--no-cache",
		"--local", "context="+context, "--local", "dockerfile="+context, "--output", "type=local,dest="+b.dir(ref))
	return err
}

// id is unknown: the built image has its own configuration.
func (b *buildKit) id(*testing.T, image) string { return "" }

func (b *buildKit) file(t *testing.T, img image) []byte {
	t.Helper()
	content, err := os.ReadFile(b.dir(img.ref) + "/" + img.file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (b *buildKit) remove(t *testing.T, ref string) {
	t.Helper()
	if err := os.RemoveAll(b.dir(ref)); err != nil {
		t.Fatal(err)
	}
	b.must(t, "prune", "--all")
}

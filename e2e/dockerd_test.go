//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestDockerd(t *testing.T) {
	hub := startHub(t)
	m := startMirror(t, hub)
	exercise(t, hub, m, newDockerd(t, m))
}

// dockerd is a Docker Engine without a network, asked by docker.
type dockerd struct{ tool }

func newDockerd(t *testing.T, m *mirror) *dockerd {
	t.Helper()
	require(t, "dockerd", "docker")
	h := newHome(t)
	host := "unix://" + h.path("docker.sock")
	d := &dockerd{h.tool("docker", "--host", host)}
	daemon := h.start(t, "dockerd",
		"--config-file", h.write(t, "daemon.json", "{}"),
		"--host", host, "--pidfile", h.path("docker.pid"),
		"--data-root", h.path("data"), "--exec-root", h.path("exec"),
		"--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false",
		"--registry-mirror", m.url())
	daemon.await(t, readyWithin, func() bool {
		_, err := d.run("version")
		return err == nil
	})
	return d
}

func (d *dockerd) pull(ref string) error {
	// As users call it: for Docker, library/… is at docker.io.
	_, err := d.run("pull", strings.TrimPrefix(ref, "docker.io/"))
	return err
}

func (d *dockerd) id(t *testing.T, ref string) string {
	t.Helper()
	return d.must(t, "image", "inspect", "--format", "{{.Id}}", ref)
}

// file copies from a container that never runs.
func (d *dockerd) file(t *testing.T, img image) []byte {
	t.Helper()
	container := d.must(t, "create", img.ref)
	archive, err := d.run("cp", container+":/"+img.file, "-")
	if err != nil {
		t.Fatal(err)
	}
	d.must(t, "rm", container)
	_, content := lastFile(t, strings.NewReader(archive))
	return content
}

func (d *dockerd) remove(t *testing.T, ref string) {
	t.Helper()
	d.must(t, "image", "rm", "--force", ref)
}

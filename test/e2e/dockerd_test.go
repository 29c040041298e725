//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestDockerd(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		hub := startHub(t)
		m := startMirror(t, hub)
		exercise(t, hub, m, newDockerd(t, from, graphDriver, m.address), false)
	})
	t.Run("newest with containerd's store", func(t *testing.T) {
		hub := startHub(t)
		m := startMirror(t, hub)
		exercise(t, hub, m, newDockerd(t, newest, containerdStore, m.address), true)
	})
}

// store is the image store of a Docker Engine: the two use entirely different code for
// registries.
type store struct{ name, config, driver string }

var (
	graphDriver     = store{"graph driver", `{}`, "vfs"}
	containerdStore = store{"containerd's store", `{"features": {"containerd-snapshotter": true}}`, "native"}
)

// dockerd is a Docker Engine without a network, used with docker.
type dockerd struct {
	tool
	store store
}

func newDockerd(t *testing.T, from release, store store, mirrors ...string) *dockerd {
	t.Helper()
	for i, mirror := range mirrors {
		mirrors[i] = "http://" + mirror
	}
	return startDockerd(t, from.home(t, "dockerd", "docker"), from, store, mirrors...)
}

// startDockerd starts one in h with the URLs of mirrors.
func startDockerd(t *testing.T, h *home, from release, store store, mirrors ...string) *dockerd {
	t.Helper()
	host := "unix://" + h.path("docker.sock")
	d := &dockerd{h.tool("docker", "--host", host), store}
	args := []string{
		"--config-file", h.write(t, "daemon.json", store.config),
		"--host", host, "--pidfile", h.path("docker.pid"),
		"--data-root", h.path("data"), "--exec-root", h.path("exec"),
		"--storage-driver", store.driver, "--bridge", "none", "--iptables=false", "--ip6tables=false",
	}
	for _, mirror := range mirrors {
		args = append(args, "--registry-mirror", mirror)
	}
	h.start(t, "dockerd", args...).await(t, readyWithin, func() bool {
		_, err := d.run("version")
		return err == nil
	})
	from.ran(t, h.must(t, "dockerd", "--version")+", "+store.name)
	return d
}

func (d *dockerd) pull(ref string) error {
	// As users write it: for Docker, library/… is at docker.io.
	_, err := d.run("pull", strings.TrimPrefix(ref, "docker.io/"))
	return err
}

// id returns the digest of the configuration; containerd's store reports that of the
// requested manifest instead.
func (d *dockerd) id(t *testing.T, img image) string {
	t.Helper()
	id := d.must(t, "image", "inspect", "--format", "{{.Id}}", img.ref)
	if d.store == containerdStore && id == img.manifests[0] {
		return img.id
	}
	return id
}

// file copies from a container that is never started.
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

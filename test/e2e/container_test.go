//go:build e2e

package e2e

import (
	"archive/tar"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// loaded is the name of the image.
const loaded = "mirrord:" + newVersion

// engine loads images and runs containers.
type engine struct {
	tool
	run []string // arguments of run
}

func newPodmanEngine(t *testing.T, from release) engine {
	t.Helper()
	p := newPodman(t, from)
	p.tool.args = append(p.tool.args, "--runtime", "runc")
	// Without privileges, limits can be lowered but not raised, as podman does by itself.
	return engine{p.tool, []string{"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}}
}

func newDockerEngine(t *testing.T, from release) engine {
	t.Helper()
	return engine{newDockerd(t, from, graphDriver).tool, nil}
}

// The image is loaded and runs with a read-only root and one volume, as it is and with a
// cache of before.
func TestContainerImage(t *testing.T) {
	engines := map[string]func(*testing.T, release) engine{"podman": newPodmanEngine, "dockerd": newDockerEngine}
	for name, start := range engines {
		t.Run(name, func(t *testing.T) {
			eachDebian(t, func(t *testing.T, from release) {
				d, e := built(t), start(t, from)
				e.needContainers(t, from)
				e.must(t, "load", "--input", one(t, d.first, "*-linux-amd64-docker.tar"))
				e.serves(t)
				if name == "podman" { // Docker's graph driver knows no OCI layout
					e.must(t, "image", "rm", "--force", loaded)
					e.must(t, "load", "--input", one(t, d.first, "*-oci.tar"))
					e.serves(t)
				}
			})
		})
	}
	t.Run("dockerd with containerd's store", func(t *testing.T) {
		d, e := built(t), engine{newDockerd(t, newest, containerdStore).tool, nil}
		e.needContainers(t, newest)
		e.must(t, "load", "--input", one(t, d.first, "*-oci.tar"))
		e.serves(t)
	})
}

// needContainers skips the test if the engine cannot run the simplest container here.
func (e engine) needContainers(t *testing.T, from release) {
	t.Helper()
	e.must(t, "import", busyboxRoot(t, e.home), "control:v1")
	if _, err := e.tool.run(slices.Concat([]string{"run", "--rm", "--network", "host"}, e.run, []string{"control:v1", "/busybox", "true"})...); err != nil {
		reason := err.Error()
		clients.add("NOT RUN: containers of " + from.name + "'s " + e.name + ": " + strings.Join(strings.Fields(reason[strings.Index(reason, "\n")+1:]), " "))
		t.Skipf("no container runs here: %v", err)
	}
}

// busyboxRoot writes the archive of a root with nothing but busybox.
func busyboxRoot(t *testing.T, h *home) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(h.path("busybox.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	if err := archive.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// serves pulls through a container of the image, and from the cache through a second one.
func (e engine) serves(t *testing.T) {
	t.Helper()
	hub := startHub(t)
	img := publishOne(t, hub, "contained", 8)
	for _, name := range []string{"one", "two"} {
		m := e.start(t, name, hub.URL())
		pullThrough(t, m, img)
		e.must(t, "exec", name, "/mirrord", "ready") // as the image's health check
		if out := e.must(t, "exec", name, "/mirrord", "quota"); !strings.Contains(out, "docker.io") {
			t.Errorf("mirrord quota in the container says %s", out)
		}
		m.process.end(t)
		hub.Down()
	}
}

// start runs a mirror of the upstream in a container until the end of the test.
func (e engine) start(t *testing.T, name, upstream string) *mirror {
	t.Helper()
	m := &mirror{home: e.home, address: freeAddress(t), admin: freeAddress(t)}
	m.process = e.home.start(t, e.name, slices.Concat(e.args,
		[]string{"run", "--rm", "--name", name, "--read-only", "--cap-drop", "ALL", "--volume", "cache:/var/cache/mirrord", "--network", "host",
			"--env", "MIRRORD_LISTEN=" + m.address, "--env", "MIRRORD_ADMIN_LISTEN=" + m.admin}, e.run,
		[]string{loaded, "serve", "--cache-min-free", "0", "--quota-probe", "0s",
			"--tags-fresh", tagsFresh.String(), "--upstream", "name=docker.io,url=" + upstream})...)
	m.awaitReady(t)
	return m
}

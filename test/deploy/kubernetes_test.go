package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	registry = "http://127.0.0.1:5000" // of the pod, and of the node by its hostPort
	certsD   = "etc/containerd/certs.d"
)

// TestPodsServe runs each overlay as a node would: it becomes ready, an image is pulled
// through it, it writes nowhere but into its volume, and ends in time. A second pod finds
// what the first has cached.
func TestPodsServe(t *testing.T) {
	eachOf(t, overlays, func(t *testing.T, m manifests) {
		n := newNode(t)
		if strings.HasSuffix(t.Name(), "nonroot") {
			n.prepareCache(t)
		}
		startHub(t)
		for range 2 {
			r := n.run(t, m, upstream)
			pull(t, registry, "library/demo", "20layers")
			r.stop(t, grace(t, m))
		}
		if n := manifestGETs(t); n != 1 {
			t.Errorf("the upstream has counted %d pulls, want 1", n)
		}
	})
}

// prepareCache does on the node what the component nonroot asks for.
func (n *node) prepareCache(t *testing.T) {
	t.Helper()
	dir := filepath.Join(n.root, "var/cache/mirrord")
	check(t, os.MkdirAll(dir, 0o750))
	check(t, os.Chown(dir, 65532, 65532))
}

// TestContainerdIsTold pulls by the hosts.toml that the init container writes on the node.
// It is written again at each start of the pod.
func TestContainerdIsTold(t *testing.T) {
	n := newNode(t)
	m := build(t, map[string]string{"kustomization.yaml": overlays["daemonset, all"]})
	startHub(t)
	for range 2 {
		r := n.run(t, m, upstream)
		pull(t, n.mirrorOf(t, "docker.io"), "library/demo", "20layers")
		for _, upstream := range []string{"ghcr.io", "quay.io", "registry.k8s.io"} {
			if got, want := n.mirrorOf(t, upstream), registry+"/"+upstream; got != want {
				t.Errorf("%s is mirrored at %s, want %s", upstream, got, want)
			}
		}
		r.stop(t, grace(t, m))
	}
}

// TestContainerdIsLeftAlone is for a node whose administrator has written a hosts.toml.
func TestContainerdIsLeftAlone(t *testing.T) {
	n := newNode(t)
	m := build(t, map[string]string{"kustomization.yaml": overlays["daemonset, all"]})
	own := filepath.Join(n.root, certsD, "docker.io/hosts.toml")
	check(t, os.MkdirAll(filepath.Dir(own), 0o755))
	check(t, os.WriteFile(own, []byte("# mine\n"), 0o644))
	pod := m.pod(t).Spec
	r := n.container(t, m, pod, pod.InitContainers[0]).start(t)
	if err := <-r.ended; err == nil || !strings.Contains(r.log.String(), "is not from this command") {
		t.Errorf("%v: %s", err, r.log)
	}
	if text, err := os.ReadFile(own); err != nil || string(text) != "# mine\n" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

var hostLine = regexp.MustCompile(`(?m)^\[host\."([^"]+)"\]$`)

// mirrorOf returns where containerd on the node asks for images of an upstream.
func (n *node) mirrorOf(t *testing.T, upstream string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.root, certsD, upstream, "hosts.toml"))
	check(t, err)
	found := hostLine.FindStringSubmatch(string(text))
	if found == nil {
		t.Fatalf("no host in %s", text)
	}
	return found[1]
}

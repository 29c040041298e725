//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestContainerdInstalled pulls from each registry with the files that mirrord
// client-config writes, also with the registries down.
func TestContainerdInstalled(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		m := startMany(t)
		c := startContainerd(t, from, m.installed(t))
		for _, img := range m.images {
			m.pull(t, c, img)
		}
		for _, hub := range m.hubs {
			if n := hub.Counters(); n.ManifestRequests != 1 {
				t.Errorf("%s got %d GETs of manifests, want 1", hub.URL(), n.ManifestRequests)
			}
			hub.Down()
		}
		for _, img := range m.images {
			m.pull(t, startContainerd(t, from, m.installed(t)), img)
		}
	})
}

// installed returns the hosts.toml of each registry as the mirror's command writes it.
func (m *many) installed(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"client-config", "containerd", "--host", "http://" + m.address, "--install=" + dir}, m.settings...)
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := make(map[string]string)
	for registry := range m.hubs {
		text, err := os.ReadFile(filepath.Join(dir, registry, "hosts.toml"))
		if err != nil {
			t.Fatal(err)
		}
		all[registry] = string(text)
	}
	return all
}

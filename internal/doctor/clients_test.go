package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/internal/clientconfig"
)

var (
	plain  = Served{Listeners: []Listener{{Address: "0.0.0.0:5000"}}, Upstreams: []string{"docker.io", "ghcr.io"}}
	secure = Served{Listeners: []Listener{{Address: "127.0.0.1:5000", TLS: true}}, Upstreams: []string{"docker.io", "ghcr.io"}}
	second = Served{Listeners: plain.Listeners, Upstreams: []string{"ghcr.io", "docker.io"}}
	noHub  = Served{Listeners: plain.Listeners, Upstreams: []string{"ghcr.io"}}
)

// What a person may have written, and what is said of it. Nothing of it is a secret told.
func TestClients(t *testing.T) {
	const (
		daemon     = "etc/docker/daemon.json"
		hosts      = "etc/containerd/certs.d/docker.io/hosts.toml"
		fallback   = "etc/containerd/certs.d/_default/hosts.toml"
		config     = "etc/containerd/config.toml"
		registries = "etc/containers/registries.conf.d/mirrord.conf"
		named      = `[host."http://127.0.0.1:5000/docker.io"]`
		mirrorOf   = "[[registry]]\nprefix = %q\nlocation = %[1]q\n[[registry.mirror]]\n%s\n"
	)
	for _, test := range []struct {
		served Served
		files  map[string]string
		client string
		state  State
		words  string
	}{
		{plain, nil, "docker", Info, "there is no /etc/docker/daemon.json"},
		{noHub, nil, "docker", Info, "docker.io only"},
		{plain, map[string]string{daemon: `{"debug": true}`}, "docker", Info, "client-config docker --install"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["https://other.invalid:5000"]}`}, "docker", Info, "is this mirror"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5001"]}`}, "docker", Info, "is this mirror"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["http://other.invalid", "http://localhost:5000/"]}`}, "docker", OK, "http://localhost:5000"},
		{secure, map[string]string{daemon: `{"registry-mirrors": ["https://127.0.0.1:5000"]}`}, "docker", OK, "https"},
		{secure, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5000"]}`}, "docker", Warn, "write https"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["https://127.0.0.1:5000"]}`}, "docker", Warn, "write http instead"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5000/docker.io"]}`}, "docker", Warn, "remove the path"},
		{second, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5000"]}`}, "docker", Warn, "write /docker.io"},
		{second, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5000/docker.io"]}`}, "docker", OK, "docker.io"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["127.0.0.1:5000"]}`}, "docker", Warn, "http://HOST:PORT"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["http//me:swordfish@x"]}`}, "docker", Warn, "with a login"},
		{plain, map[string]string{daemon: `{"registry-mirrors": "swordfish"}`}, "docker", Warn, "invalid"},
		{plain, map[string]string{daemon: `{"registry-mirrors": ["swordfish",]`}, "docker", Warn, "jq"},

		{plain, nil, "containerd", Info, "no hosts.toml below /etc/containerd/certs.d"},
		{plain, map[string]string{hosts: named}, "containerd", Warn, "config_path"},
		{plain, map[string]string{hosts: named, config: "version = 2\n"}, "containerd", Warn, "no config_path"},
		{plain, map[string]string{hosts: named, config: "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/containerd/certs.d'"}, "containerd", OK, "for docker.io"},
		{plain, map[string]string{hosts: named, config: "imports = ['conf.d/*.toml']", "etc/containerd/conf.d/a.toml": "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/elsewhere:/etc/containerd/certs.d'"}, "containerd", OK, "for docker.io"},
		{plain, map[string]string{hosts: named, config: "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/elsewhere'"}, "containerd", Info, "below /etc/elsewhere"},
		{plain, map[string]string{fallback: named, config: "[plugins.a.registry]\nconfig_path = '/etc/containerd/certs.d'"}, "containerd", OK, "_default"},
		{secure, map[string]string{hosts: named}, "containerd", Warn, "write https"},
		{plain, map[string]string{hosts: `server = "swordfish`}, "containerd", Warn, "in line 1"},
		{plain, map[string]string{hosts: named, config: "auth = 'swordfish"}, "containerd", Warn, "config.toml is invalid"},

		{plain, nil, "podman", Info, "client-config podman --install"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "127.0.0.1:5000/docker.io"`+"\ninsecure = true")}, "podman", OK, "for docker.io"},
		{secure, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "localhost:5000/docker.io"`)}, "podman", OK, "for docker.io"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "127.0.0.1:5000/docker.io"`)}, "podman", Warn, "write insecure = true"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "http://127.0.0.1:5000/docker.io"`)}, "podman", Warn, "has a scheme"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "ghcr.io", `location = "127.0.0.1:5000"`+"\ninsecure = true")}, "podman", Warn, "127.0.0.1:5000/ghcr.io"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io/library", `location = "127.0.0.1:5000/library"`+"\ninsecure = true")}, "podman", OK, "docker.io/library"},
		{plain, map[string]string{"etc/containers/registries.conf": "unqualified = 'swordfish"}, "podman", Warn, "pull nothing"},
	} {
		root := t.TempDir()
		for path, text := range test.files {
			check(t, os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o700))
			check(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o600))
		}
		all := Clients(t.Context(), root, test.served)
		want(t, all, test.client, test.state, test.words)
		if text := fmt.Sprint(all); strings.Contains(text, "swordfish") || strings.Contains(text, root) {
			t.Errorf("a secret is told: %s", text)
		}
	}
}

// What mirrord client-config writes is right.
func TestInstalledClients(t *testing.T) {
	for _, served := range []Served{plain, secure, second} {
		root := t.TempDir()
		url := "http://127.0.0.1:5000"
		if served.Listeners[0].TLS {
			url = "https://127.0.0.1:5000"
		}
		for _, client := range []string{"docker", "containerd", "podman"} {
			c, err := clientconfig.For(client, clientconfig.Mirror{URL: url, Upstreams: served.Upstreams})
			check(t, err)
			_, err = c.Install(filepath.Join(root, c.Dir))
			check(t, err)
		}
		config := filepath.Join(root, containerdConfig)
		check(t, os.WriteFile(config, []byte("[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'"), 0o600))
		for _, c := range Clients(t.Context(), root, served) {
			if c.State != OK {
				t.Errorf("%+v", c)
			}
		}
	}
	if all := Clients(t.Context(), t.TempDir(), Served{}); all != nil {
		t.Errorf("%+v", all)
	}
}

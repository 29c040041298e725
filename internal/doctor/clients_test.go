package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/internal/clientconfig"
)

var (
	plain  = Served{Listeners: []Listener{{Address: "0.0.0.0:5000"}}, Upstreams: []string{"docker.io", "ghcr.io"}}
	secure = Served{Listeners: []Listener{{Address: "127.0.0.1:5000", TLS: true}}, Upstreams: []string{"docker.io", "ghcr.io"}}
	https  = Served{Listeners: []Listener{{Address: "127.0.0.1:443", TLS: true}}, Upstreams: []string{"docker.io"}}
	second = Served{Listeners: plain.Listeners, Upstreams: []string{"ghcr.io", "docker.io"}}
	noHub  = Served{Listeners: plain.Listeners, Upstreams: []string{"ghcr.io"}}
	two    = Served{Listeners: []Listener{{Address: "127.0.0.1:5000", Upstream: "ghcr.io"}, {Address: "127.0.0.2:5000", Upstream: "docker.io"}}, Upstreams: []string{"docker.io", "ghcr.io"}}
	ipv4   = Served{Listeners: []Listener{{Address: "0.0.0.0:5000"}}, Upstreams: []string{"docker.io"}}
	ipv6   = Served{Listeners: []Listener{{Address: "[::]:5000"}}, Upstreams: []string{"docker.io"}}
	names  = Served{Listeners: plain.Listeners, Upstreams: plain.Upstreams, Aliases: bound.Aliases}
	bound  = Served{Listeners: []Listener{{Address: ":5000", Upstream: "ghcr.io"}}, Upstreams: []string{"docker.io", "ghcr.io"}, Aliases: map[string]string{"hub": "docker.io", "gh": "ghcr.io"}}
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
		everything = `[host."http://127.0.0.1:5000"]`
		cri1       = "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '%s'\n"
		cri2       = "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '%s'\n"
		certs      = "/etc/containerd/certs.d"
		imports    = "imports = ['conf.d/*.toml']\n"
		first      = "etc/containerd/conf.d/1.toml"
		last       = "etc/containerd/conf.d/2.toml"
		mirrorOf   = "[[registry]]\nprefix = %q\nlocation = %[1]q\n[[registry.mirror]]\n%s\n"
	)
	self, err := os.Hostname()
	check(t, err)
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
		{two, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.2:5000"]}`}, "docker", OK, "127.0.0.2"},
		{two, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5000"]}`}, "docker", Warn, "the listener of ghcr.io"},
		{two, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.3:5000"]}`}, "docker", Info, "is this mirror"},
		{two, map[string]string{daemon: `{"registry-mirrors": ["http://localhost:5000"]}`}, "docker", Warn, "the listener of ghcr.io"},
		{ipv4, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.3:5000"]}`}, "docker", OK, "127.0.0.3"},
		{ipv4, map[string]string{daemon: `{"registry-mirrors": ["http://[::1]:5000"]}`}, "docker", Info, "is this mirror"},
		{ipv6, map[string]string{daemon: `{"registry-mirrors": ["http://[::1]:5000"]}`}, "docker", OK, "[::1]"},
		{ipv6, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.3:5000"]}`}, "docker", OK, "127.0.0.3"},
		{ipv6, map[string]string{daemon: fmt.Sprintf(`{"registry-mirrors": ["http://%s:5000"]}`, self)}, "docker", OK, self},

		{plain, nil, "containerd", Info, "no hosts.toml below /etc/containerd/certs.d"},
		{plain, map[string]string{hosts: named}, "containerd", Warn, "config_path"},
		{plain, map[string]string{hosts: named, config: "version = 2\n"}, "containerd", Warn, "no config_path"},
		{plain, map[string]string{hosts: named, config: "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/containerd/certs.d'"}, "containerd", OK, "for docker.io"},
		{plain, map[string]string{hosts: named, config: "imports = ['conf.d/*.toml']", "etc/containerd/conf.d/a.toml": "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/elsewhere:/etc/containerd/certs.d'"}, "containerd", OK, "for docker.io"},
		{plain, map[string]string{hosts: named, config: "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/elsewhere'"}, "containerd", Info, "below /etc/elsewhere"},
		{plain, map[string]string{fallback: everything, config: fmt.Sprintf(cri1, certs)}, "containerd", OK, "_default"},
		{plain, map[string]string{fallback: named, config: fmt.Sprintf(cri1, certs)}, "containerd", Warn, "write nothing after the port"},
		{plain, map[string]string{hosts: `[host."http://127.0.0.1:5000/v2/ghcr.io"]`, config: fmt.Sprintf(cri1, certs)}, "containerd", Warn, "write /docker.io after the port"},
		{names, map[string]string{hosts: `[host."http://127.0.0.1:5000/hub"]`, config: fmt.Sprintf(cri1, certs)}, "containerd", OK, "docker.io"},
		{plain, map[string]string{hosts: named, config: "[plugins.a.registry]\nconfig_path = '/etc/containerd/certs.d'"}, "containerd", Warn, "before 2.2"},
		{plain, map[string]string{hosts: named, config: "version = 3\n" + fmt.Sprintf(cri1, certs)}, "containerd", Warn, "no config_path"},
		{plain, map[string]string{hosts: named, config: "version = 3\n" + fmt.Sprintf(cri1, "/a") + fmt.Sprintf(cri2, certs)}, "containerd", OK, "docker.io"},
		{plain, map[string]string{hosts: named, config: "version = 2\n" + fmt.Sprintf(cri1, certs) + fmt.Sprintf(cri2, "/a")}, "containerd", OK, "docker.io"},
		{plain, map[string]string{hosts: named, config: imports + fmt.Sprintf(cri1, "/a"), first: fmt.Sprintf(cri1, certs)}, "containerd", OK, "docker.io"},
		{plain, map[string]string{hosts: named, config: imports + fmt.Sprintf(cri1, certs), first: fmt.Sprintf(cri1, "/a")}, "containerd", Info, "below /a"},
		{plain, map[string]string{hosts: named, config: imports, first: fmt.Sprintf(cri1, "/a"), last: fmt.Sprintf(cri2, certs)}, "containerd", OK, "docker.io"},
		{plain, map[string]string{hosts: named, config: imports + fmt.Sprintf(cri1, certs), first: "[plugins.'io.containerd.grpc.v1.cri']\nx = 1\n"}, "containerd", Info, "before containerd 2.1, because /etc/containerd/conf.d/1.toml"},
		{plain, map[string]string{hosts: named, config: imports, first: "imports = ['2.toml', '1.toml', '../config.toml']\n", last: fmt.Sprintf(cri2, certs)}, "containerd", OK, "docker.io"},
		{bound, map[string]string{hosts: named, config: fmt.Sprintf(cri1, certs)}, "containerd", Warn, "is the listener of ghcr.io"},
		{bound, map[string]string{"etc/containerd/certs.d/ghcr.io/hosts.toml": everything, config: fmt.Sprintf(cri1, certs)}, "containerd", OK, "for ghcr.io"},
		{bound, map[string]string{fallback: everything, config: fmt.Sprintf(cri1, certs)}, "containerd", Warn, "a listener for all upstreams"},
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
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io/acme", `location = "127.0.0.1:5000/docker.io"`+"\ninsecure = true")}, "podman", Warn, `serves "docker.io/" in the place of "docker.io/acme"write its location as 127.0.0.1:5000/docker.io/acme`},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io/acme", `location = "127.0.0.1:5000/docker.io/acme/"`+"\ninsecure = true")}, "podman", OK, "docker.io/acme"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "127.0.0.1:5000/library"`+"\ninsecure = true")}, "podman", Warn, "in the place of"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "quay.io", `location = "127.0.0.1:5000/quay.io"`+"\ninsecure = true")}, "podman", Warn, "add quay.io to the upstreams"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "quay.io", `location = "127.0.0.1:5000"`+"\ninsecure = true")}, "podman", Warn, "add quay.io to the upstreams"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "corp.example/hub", `location = "127.0.0.1:5000/docker.io"`+"\ninsecure = true")}, "podman", OK, "corp.example/hub"},
		{bound, map[string]string{registries: fmt.Sprintf(mirrorOf, "ghcr.io", `location = "127.0.0.1:5000"`+"\ninsecure = true")}, "podman", OK, "ghcr.io"},
		{bound, map[string]string{registries: fmt.Sprintf(mirrorOf, "ghcr.io", `location = "127.0.0.1:5000/gh"`+"\ninsecure = true")}, "podman", OK, "ghcr.io"},
		{bound, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "127.0.0.1:5000/docker.io"`+"\ninsecure = true")}, "podman", Warn, "at the listener of ghcr.io"},
		{bound, map[string]string{daemon: `{"registry-mirrors": ["http://127.0.0.1:5000"]}`}, "docker", Warn, "the listener of ghcr.io"},
		{plain, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "swordfish@127.0.0.1:5000"`)}, "podman", Info, "not configured"},
		{plain, map[string]string{registries: "[[registry]]\nprefix = 'docker.io/acme'\nlocation = 'quay.io/acme'\n[[registry.mirror]]\nlocation = '127.0.0.1:5000/docker.io/acme'\ninsecure = true\n"}, "podman", OK, "for docker.io/acme"},
		{https, map[string]string{registries: fmt.Sprintf(mirrorOf, "docker.io", `location = "127.0.0.1/docker.io"`)}, "podman", OK, "for docker.io"},
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

// A mirror without upstreams has no default one.
func TestNoUpstreams(t *testing.T) {
	h := host{ctx: t.Context(), root: t.TempDir(), served: Served{Listeners: plain.Listeners}}
	if found, problem := h.podmanMirror("docker.io", mirrorOfOther{Location: "127.0.0.1:5000", Insecure: true}); found || problem == nil {
		t.Errorf("%t, %+v", found, problem)
	}
}

// A file that this user may not read says nothing of what it has.
func TestUnreadable(t *testing.T) {
	const (
		hosts   = containerdHosts + "/docker.io/hosts.toml"
		imports = "/etc/containerd/conf.d"
		search  = 0o711 // of a directory that others may not list
	)
	for _, test := range []struct {
		client, file, closed string
		mode                 os.FileMode
		named                string // as what cannot be read; empty: all is read
	}{
		{"docker", daemonJSON, daemonJSON, 0, daemonJSON},
		{"containerd", containerdConfig, containerdConfig, 0, containerdConfig},
		{"containerd", hosts, hosts, 0, hosts},
		{"containerd", hosts, containerdHosts, 0, hosts},
		{"containerd", hosts, containerdHosts, search, ""},
		{"containerd", imports + "/a.toml", imports, 0, imports + "/*.toml"},
		{"containerd", imports + "/a.toml", imports, search, imports + "/*.toml"},
		{"containerd", imports + "/one", imports, search, ""},
		{"podman", registriesConf, registriesConf, 0, registriesConf},
		{"podman", registriesConf + ".d/a.conf", registriesConf + ".d", 0, registriesConf + ".d/*.conf"},
		{"podman", registriesConf + ".d/a.conf", registriesConf + ".d", search, registriesConf + ".d/*.conf"},
	} {
		root := t.TempDir()
		path := filepath.Join(root, test.file)
		config := filepath.Join(root, containerdConfig)
		check(t, os.MkdirAll(filepath.Dir(config), 0o755))
		switch filepath.Base(path) {
		case "a.toml":
			check(t, os.WriteFile(config, []byte("imports = ['conf.d/*.toml']"), 0o644))
		case "one":
			check(t, os.WriteFile(config, []byte("imports = ['conf.d/one']"), 0o644))
		}
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, nil, 0o644))
		check(t, os.Chmod(filepath.Dir(root), 0o755))
		check(t, os.Chmod(filepath.Join(root, test.closed), test.mode))
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(root, test.closed), 0o755) })
		found := make(chan []Check)
		go func() {
			if os.Geteuid() == 0 { // which may read all files
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
				_ = unix.Setfsuid(65534)
			}
			found <- Clients(t.Context(), root, plain)
		}()
		if test.named == "" {
			want(t, <-found, test.client, Info, "not configured")
			continue
		}
		want(t, <-found, test.client, Info, test.named+" cannot be read by this userrun this as root")
	}
}

package clientconfig_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/goccy/go-yaml"

	"mirrord/internal/clientconfig"
)

var mirror = clientconfig.Mirror{URL: "http://mirror.lan:5000", Upstreams: []string{"docker.io", "ghcr.io"}}

// Each file is valid in its format, and says what the client looks for there.
func TestFiles(t *testing.T) {
	for _, test := range []struct {
		client, path string
		want         string // the value at keys
		keys         []any
	}{
		{"docker", "daemon.json", "http://mirror.lan:5000", []any{"registry-mirrors", 0}},
		{"docker-desktop", "daemon.json", "http://mirror.lan:5000", []any{"registry-mirrors", 0}},
		{"gitlab-runner", "dind-daemon.json", "http://mirror.lan:5000", []any{"registry-mirrors", 0}},
		{"gitlab-runner", "config.toml", "docker", []any{"runners", 0, "executor"}},
		{"containerd", "ghcr.io/hosts.toml", "resolve", []any{"host", "http://mirror.lan:5000/ghcr.io", "capabilities", 1}},
		{"podman", "mirrord.conf", "mirror.lan:5000/ghcr.io", []any{"registry", 1, "mirror", 0, "location"}},
		{"cri-o", "mirrord.conf", "docker.io", []any{"registry", 0, "prefix"}},
		{"k3s", "registries.yaml", "http://mirror.lan:5000", []any{"mirrors", "ghcr.io", "endpoint", 0}},
		{"rke2", "registries.yaml", "http://mirror.lan:5000", []any{"mirrors", "docker.io", "endpoint", 0}},
		{"buildkit", "buildkitd.toml", "mirror.lan:5000/ghcr.io", []any{"registry", "ghcr.io", "mirrors", 0}},
		{"kind", "kind.yaml", "./certs.d", []any{"nodes", 0, "extraMounts", 0, "hostPath"}},
		{"kind", "certs.d/docker.io/hosts.toml", "pull", []any{"host", "http://mirror.lan:5000/docker.io", "capabilities", 0}},
	} {
		c, err := clientconfig.For(test.client, mirror)
		if err != nil {
			t.Fatal(err)
		}
		got := parse(t, c, test.path)
		for _, key := range test.keys {
			got = at(got, key)
		}
		if got != test.want {
			t.Errorf("%s %s: %v is %v, want %s", test.client, test.path, test.keys, got, test.want)
		}
	}
}

// at is what v has at a key or an index, nil if there is nothing.
func at(v, key any) any {
	switch v := v.(type) {
	case map[string]any:
		name, _ := key.(string)
		return v[name]
	case []any:
		if i, ok := key.(int); ok && i < len(v) {
			return v[i]
		}
	case []map[string]any:
		if i, ok := key.(int); ok && i < len(v) {
			return v[i]
		}
	}
	return nil
}

func parse(t *testing.T, c clientconfig.Config, path string) any {
	t.Helper()
	for _, f := range c.Files {
		if f.Path != path {
			continue
		}
		parsed := make(map[string]any)
		var err error
		switch filepath.Ext(path) {
		case ".json":
			err = json.Unmarshal([]byte(f.Text), &parsed)
		case ".yaml":
			err = yaml.Unmarshal([]byte(f.Text), &parsed)
		default:
			err = toml.Unmarshal([]byte(f.Text), &parsed)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", path, err, f.Text)
		}
		return parsed
	}
	t.Errorf("%s has no file %s", c.Client, path)
	return nil
}

func TestAll(t *testing.T) {
	if got, want := len(clientconfig.All(mirror)), len(clientconfig.Clients()); got != want {
		t.Errorf("%d of %d clients", got, want)
	}
	for _, c := range clientconfig.All(clientconfig.Mirror{URL: "https://m", Upstreams: []string{"quay.io"}}) {
		if strings.Contains(c.Client, "docker") || c.Client == "gitlab-runner" {
			t.Errorf("%s has something of a mirror without Docker Hub", c.Client)
		}
		for _, f := range c.Files {
			if strings.Contains(f.Text, "insecure") || strings.Contains(f.Text, "http = true") {
				t.Errorf("%s: %s is insecure with TLS:\n%s", c.Client, f.Path, f.Text)
			}
		}
	}
	if _, err := clientconfig.For("docker", clientconfig.Mirror{URL: "http://m", Upstreams: []string{"quay.io"}}); !errors.Is(err, clientconfig.ErrOnlyHub) {
		t.Error(err)
	}
	second, err := clientconfig.For("docker", clientconfig.Mirror{URL: "http://m", Upstreams: []string{"quay.io", "docker.io"}})
	if err != nil || !strings.Contains(second.Files[0].Text, `"http://m/docker.io"`) {
		t.Errorf("%v %v", second, err)
	}
}

// What is merged loses nothing of what was there.
func TestMerge(t *testing.T) {
	const both = `{ "registry-mirrors": ["http://mirror.lan:5000", "http://b"] }` + "\n"
	for name, test := range map[string]struct {
		old, want string // empty: refused, and left
	}{
		"no file":               {"-", `{ "registry-mirrors": ["http://mirror.lan:5000"] }` + "\n"},
		"empty":                 {"", `{ "registry-mirrors": ["http://mirror.lan:5000"] }` + "\n"},
		"nothing of it":         {"{\n  \"debug\": true\n}\n", `{ "debug": true, "registry-mirrors": ["http://mirror.lan:5000"] }` + "\n"},
		"another":               {`{"registry-mirrors":["http://b"]}`, both},
		"the same, later":       {`{"registry-mirrors":["http://b","http://mirror.lan:5000/"]}`, both},
		"the same":              {`{"registry-mirrors": ["http://mirror.lan:5000"] }`, `{"registry-mirrors": ["http://mirror.lan:5000"] }`},
		"a list, not an object": {`[]`, ""},
		"not JSON":              {`debug: true`, ""},
		"no list":               {`{"registry-mirrors": "http://b"}`, ""},
		"null":                  {`null`, ""},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "daemon.json")
		if test.old != "-" {
			if err := os.WriteFile(path, []byte(test.old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := clientconfig.For("docker", mirror)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Install(dir)
		if (err == nil) != (test.want != "") {
			t.Errorf("%s: %v", name, err)
		}
		if test.want == "" {
			test.want = test.old
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v\n%s, want\n%s", name, err, got, test.want)
		}
		if info, err := os.Stat(path); test.old != "-" && (err != nil || info.Mode().Perm() != 0o600) {
			t.Errorf("%s: %v %v, want the mode that it had", name, info, err)
		}
	}
}

// A second change leaves the backup of what was there before the first.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"http://a", "http://b"} {
		c, err := clientconfig.For("docker", clientconfig.Mirror{URL: address, Upstreams: []string{"docker.io"}})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := c.Install(dir); err != nil || !r[0].Written {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if text, err := os.ReadFile(path + ".bak"); err != nil || string(text) != "{}" {
		t.Errorf("%v\n%s", err, text)
	}
}

// A link stays one: what it leads to is replaced.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real.json")
	if err := os.WriteFile(real, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.json", filepath.Join(dir, "daemon.json")); err != nil {
		t.Fatal(err)
	}
	c, err := clientconfig.For("docker", mirror)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Install(dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(real); err != nil || !strings.Contains(string(text), "mirror.lan") {
		t.Errorf("%v\n%s", err, text)
	}
	if info, err := os.Lstat(filepath.Join(dir, "daemon.json")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
}

// podman and CRI-O read the same file: what is written for one is replaced for the other.
func TestSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, client := range []string{"podman", "cri-o", "podman"} {
		c, err := clientconfig.For(client, mirror)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Install(dir); err != nil {
			t.Errorf("%s: %v", client, err)
		}
	}
}

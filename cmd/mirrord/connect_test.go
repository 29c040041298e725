package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"mirrord/internal/clientconfig"
	"mirrord/internal/config"
	"mirrord/internal/status/page"
)

func mirrorOf(listeners []config.Listener, upstreams ...string) *config.Config {
	cfg := &config.Config{Listeners: listeners}
	for _, name := range upstreams {
		cfg.Upstreams = append(cfg.Upstreams, config.Upstream{Name: name})
	}
	return cfg
}

// code returns what is to be copied for a client, and all that is said of it.
func code(blocks []page.Block, client string) (code []string, text string) {
	for _, b := range blocks {
		if b.Client == client {
			for _, s := range b.Steps {
				text += s.Text + "\n" + s.Code + "\n"
				if s.Code != "" {
					code = append(code, s.Code)
				}
			}
		}
	}
	return code, text
}

// Clients connect to the listener for all upstreams, on the host that a person knows the
// mirror by, with what its TLS needs.
func TestConnection(t *testing.T) {
	plain := config.Listener{Address: "0.0.0.0:5000"}
	hub := config.Listener{Address: "0.0.0.0:5001", Upstream: "docker.io"}
	tls := config.Listener{Address: ":5443", TLS: config.TLS{CertFile: "a", KeyFile: "b", ClientCAFile: "c"}}
	public := config.Listener{Address: ":443", ACME: config.ACME{Domains: []string{"mirror.lan"}}}
	for name, test := range map[string]struct {
		cfg  *config.Config
		host string
		want connection
	}{
		"plain":       {mirrorOf([]config.Listener{hub, plain}, "docker.io", "ghcr.io"), "mirror.lan:5001", connection{Mirror: clientconfig.Mirror{URL: "http://mirror.lan:5000", Upstreams: []string{"docker.io", "ghcr.io"}}}},
		"hub second":  {mirrorOf([]config.Listener{plain}, "ghcr.io", "docker.io"), "mirror.lan", connection{Mirror: clientconfig.Mirror{URL: "http://mirror.lan:5000", Upstreams: []string{"ghcr.io", "docker.io"}}}},
		"one only":    {mirrorOf([]config.Listener{hub}, "ghcr.io", "docker.io"), "[fd00::1]:5001", connection{Mirror: clientconfig.Mirror{URL: "http://[fd00::1]:5001", Upstreams: []string{"docker.io"}}}},
		"TLS":         {mirrorOf([]config.Listener{tls}, "ghcr.io"), "10.0.0.1:1", connection{Mirror: clientconfig.Mirror{URL: "https://10.0.0.1:5443", Upstreams: []string{"ghcr.io"}, OwnCA: true}, Login: true}},
		"certificate": {mirrorOf([]config.Listener{public}, "quay.io"), "[fd00::1]", connection{Mirror: clientconfig.Mirror{URL: "https://[fd00::1]:443", Upstreams: []string{"quay.io"}}}},
	} {
		if diff := cmp.Diff(test.want, connectionOf(test.cfg, test.host)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What is copied is valid where the format can be checked here; test/e2e has the others.
func TestConnect(t *testing.T) {
	listeners := []config.Listener{{Address: ":5443", TLS: config.TLS{CertFile: "a", KeyFile: "b"}, Auth: config.Auth{Htpasswd: "users"}}}
	connected := connect(mirrorOf(listeners, "ghcr.io", "docker.io"), "mirror.lan:5001")
	blocks := connected.Blocks
	if len(blocks) != len(clientconfig.Clients()) {
		t.Errorf("%d clients, want all %d", len(blocks), len(clientconfig.Clients()))
	}
	for _, b := range blocks {
		if _, text := code(blocks, b.Client); !strings.Contains(text, "mirror.lan:5443") || strings.Contains(text, "insecure") {
			t.Errorf("%s: %s", b.Client, text)
		}
	}
	if len(connected.Notes) != 1 || !strings.Contains(connected.Notes[0], "asks for a login") {
		t.Errorf("notes: %q", connected.Notes)
	}
	docker, _ := code(blocks, "docker")
	var daemon map[string][]string
	if err := json.Unmarshal([]byte(docker[1]), &daemon); err != nil || daemon["registry-mirrors"][0] != "https://mirror.lan:5443/docker.io" {
		t.Errorf("docker: %v, %v", daemon, err)
	}
	k3s, _ := code(blocks, "k3s")
	var registries struct {
		Mirrors map[string]struct{ Endpoint []string }
		Configs map[string]struct {
			TLS struct {
				CA string `yaml:"ca_file"`
			}
		}
	}
	if err := yaml.Unmarshal([]byte(k3s[1]), &registries); err != nil {
		t.Fatal(err)
	}
	if got := registries.Mirrors["ghcr.io"].Endpoint; len(registries.Mirrors) != 2 || len(got) != 1 || got[0] != "https://mirror.lan:5443" || registries.Configs["mirror.lan:5443"].TLS.CA == "" {
		t.Errorf("k3s: %+v", registries)
	}
	connected = connect(mirrorOf([]config.Listener{{Address: "127.0.0.1:5000"}}, "ghcr.io"), "localhost")
	blocks = connected.Blocks
	if len(connected.Notes) != 1 || !strings.Contains(connected.Notes[0], "listens at 127.0.0.1:5000 only") {
		t.Errorf("notes: %q", connected.Notes)
	}
	for _, b := range blocks {
		if _, text := code(blocks, b.Client); strings.Contains(text, "docker.io") || strings.Contains(text, "ca.crt") || strings.Contains(text, "login") {
			t.Errorf("of a plain mirror of ghcr.io, %s: %s", b.Client, text)
		}
	}
	if podman, _ := code(blocks, "podman"); podman[0] != "[[registry]]\nprefix = \"ghcr.io\"\nlocation = \"ghcr.io\"\n\n[[registry.mirror]]\nlocation = \"localhost:5000/ghcr.io\"\ninsecure = true" {
		t.Errorf("podman: %s", podman[0])
	}
}

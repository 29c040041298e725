package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/config"
	"mirrord/internal/server"
)

// Each file with a secret is looked at.
func TestSecretFiles(t *testing.T) {
	cfg := &config.Config{
		Notify:    []config.Webhook{{SecretFile: "secret", HeadersFile: "headers", CAFile: "ca"}},
		Listeners: []config.Listener{{TLS: config.TLS{CertFile: "cert", KeyFile: "key"}, Auth: config.Auth{Htpasswd: "htpasswd", Tokens: "tokens"}}},
		Upstreams: []config.Upstream{{ClientCertFile: "client-cert", ClientKeyFile: "client-key", Credentials: []config.Credential{
			{PasswordFile: "password"}, {DockerConfig: "docker"}, {Helper: "pass"}, {PasswordFile: unitCredentials + "mirrord.service/hub"},
		}}},
	}
	cfg.Admin.TokenFile = "admin"
	var got []string
	for _, f := range secretFiles(cfg) {
		got = append(got, f.path)
	}
	if want := []string{"admin", "key", "tokens", "htpasswd", "secret", "headers", "client-key", "password", "docker"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A warning says what to run, and running it is enough.
func TestReadableSecrets(t *testing.T) {
	for _, test := range []struct {
		mode   fs.FileMode
		closed fs.FileMode
		run    string // without the file; empty: no warning
	}{
		{0o600, groupAndOthers, ""},
		{0o640, groupAndOthers, "chmod go= "},
		{0o604, groupAndOthers, "chmod go= "},
		{0o644, others, "chmod o= "},
		{0o640, others, ""},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		check(t, os.WriteFile(path, nil, test.mode))
		check(t, os.Chmod(path, test.mode))
		core, lines := observer.New(zap.WarnLevel)
		warnReadable([]secretFile{{"tokens", path, test.closed}, {"tokens", path + ".absent", test.closed}}, zap.New(core))
		var runs []string
		for _, line := range lines.All() {
			runs = append(runs, line.ContextMap()["run"].(string))
		}
		if test.run == "" && len(runs) > 0 || test.run != "" && !slices.Equal(runs, []string{test.run + path}) {
			t.Errorf("%v, closed to %v: %q", test.mode, test.closed, runs)
		}
	}
}

// What belongs to another user is read by its group.
func TestSecretsOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(path, nil, 0o600))
	check(t, os.Chown(path, 12345, 12345))
	for mode, want := range map[fs.FileMode]int{0o640: 0, 0o644: 1} {
		check(t, os.Chmod(path, mode))
		core, lines := observer.New(zap.WarnLevel)
		warnReadable([]secretFile{{"key_file", path, groupAndOthers}}, zap.New(core))
		if lines.Len() != want {
			t.Errorf("%v: %d warnings, want %d", mode, lines.Len(), want)
		}
	}
}

// Passwords over plain HTTP are warned of, unless they stay on this machine or a proxy
// may have decrypted them.
func TestPlainLogins(t *testing.T) {
	plain, err := server.LoadCertificate(server.TLSFiles{}, nil)
	check(t, err)
	for name, test := range map[string]struct {
		listener config.Listener
		proxies  []string
		want     int
	}{
		"all addresses": {config.Listener{Address: ":5000", Auth: config.Auth{Tokens: "t"}}, nil, 1},
		"open":          {config.Listener{Address: ":5000"}, nil, 0},
		"loopback":      {config.Listener{Address: "[::1]:5000", Auth: config.Auth{Tokens: "t"}}, nil, 0},
		"behind":        {config.Listener{Address: ":5000", Auth: config.Auth{Tokens: "t"}}, []string{"10.0.0.1/32"}, 0},
	} {
		cfg := &config.Config{Listeners: []config.Listener{test.listener}}
		cfg.Clients.TrustedProxies = test.proxies
		core, lines := observer.New(zap.WarnLevel)
		warnPlain(cfg, []door{{certificates: plain}}, zap.New(core))
		if lines.Len() != test.want {
			t.Errorf("%s: %d warnings, want %d", name, lines.Len(), test.want)
		}
	}
}

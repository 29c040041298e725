package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"mirrord/internal/config"
)

// openTerminal returns both ends of a terminal: what is written to the second is read
// from the first.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	check(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	check(t, err)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// On a terminal, and without another wish, a person is told what the mirror does.
func TestLogFormat(t *testing.T) {
	_, terminal := openTerminal(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	check(t, err)
	defer func() { _ = file.Close() }()
	for _, test := range []struct {
		set    string
		to     *os.File
		want   string
		person bool
	}{
		{"auto", terminal, "console", true},
		{"auto", file, "json", false},
		{"json", terminal, "json", false},
		{"console", terminal, "console", false},
		{"console", file, "console", false},
	} {
		cfg := new(config.Config)
		cfg.Log.Format = test.set
		if format, person := logFormat(cfg, test.to); format != test.want || person != test.person {
			t.Errorf("%s on %s: %s, %v", test.set, test.to.Name(), format, person)
		}
	}
}

// The real mirror on a terminal.
func TestFirstRun(t *testing.T) {
	person, program := openTerminal(t)
	m := newMirror(t)
	m.terminal = program
	check(t, m.serve("--cache-min-free=1GiB"))
	check(t, m.end(terminate))
	check(t, unix.SetNonblock(int(person.Fd()), true))
	screen := make([]byte, 64<<10)
	n, err := unix.Read(int(person.Fd()), screen)
	check(t, err)
	text := strings.ReplaceAll(string(screen[:n]), "\r\n", "\n")
	want := "is ready; Ctrl-C stops it.\n" +
		"  address    http://" + m.mirror + "\n" +
		"  upstreams  docker.io\n" +
		"  cache      " + m.cache + ", at most 50GiB, leaving 1GiB of the disk free\n"
	if !strings.Contains(text, want) || !strings.Contains(text, "INFO\tstopped") {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// Each client is told what it needs, the first that is there.
func TestWelcome(t *testing.T) {
	hub, quay := config.Upstream{Name: "docker.io"}, config.Upstream{Name: "quay.io"}
	all := []string{"docker", "/etc/containers", "containerd"}
	for name, test := range map[string]struct {
		upstreams []config.Upstream
		present   []string
		listeners []config.Listener
		want      string // from the fifth line on
	}{
		"docker": {[]config.Upstream{hub, quay}, all, []config.Listener{{Address: "[::]:5000"}},
			"  docker     add this to /etc/docker/daemon.json, then: sudo systemctl restart docker\n\n" +
				"{ \"registry-mirrors\": [\"http://127.0.0.1:5000\"] }\n"},
		"podman, because docker pulls from Docker Hub only": {[]config.Upstream{quay}, all, []config.Listener{{Address: "192.0.2.1:443", TLS: config.TLS{CertFile: "f"}}},
			"  podman     write this to /etc/containers/registries.conf.d/mirrord.conf\n\n" +
				"[[registry]]\nprefix = \"quay.io\"\nlocation = \"quay.io\"\n\n[[registry.mirror]]\nlocation = \"192.0.2.1:443/quay.io\"\n"},
		"containerd": {[]config.Upstream{hub, quay}, []string{"/etc/containerd"}, []config.Listener{{Address: "127.0.0.1:1", Upstream: "quay.io"}, {Address: "127.0.0.1:2"}},
			"  containerd write each of these files, see docs/clients.md for config_path\n\n" +
				"# /etc/containerd/certs.d/docker.io/hosts.toml\n[host.\"http://127.0.0.1:2/docker.io\"]\n  capabilities = [\"pull\", \"resolve\"]\n\n" +
				"# /etc/containerd/certs.d/quay.io/hosts.toml\n[host.\"http://127.0.0.1:2/quay.io\"]\n  capabilities = [\"pull\", \"resolve\"]\n"},
		"none": {[]config.Upstream{hub}, nil, []config.Listener{{Address: "127.0.0.1:5000"}},
			"  clients    none found here; docs/clients.md has the configuration of each, with http://127.0.0.1:5000\n"},
	} {
		cfg := &config.Config{Upstreams: test.upstreams}
		found := findClient(cfg, func(name string) bool { return slices.Contains(test.present, name) })
		text := welcome(cfg, test.listeners, found)
		lines := strings.SplitAfterN(text, "\n", 5)
		if diff := cmp.Diff(test.want, lines[len(lines)-1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whoever lets everybody in the network pull is warned once, with the line to add.
func TestWarnOpen(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   bool
	}{
		"everywhere":         {func(c *config.Config) { c.Listen = "0.0.0.0:5000" }, true},
		"everywhere, short":  {func(c *config.Config) { c.Listen = ":5000" }, true},
		"one address":        {func(c *config.Config) { c.Listen = "192.0.2.1:5000" }, true},
		"this host":          {func(c *config.Config) { c.Listen = "127.0.0.1:5000" }, false},
		"this host, by name": {func(c *config.Config) { c.Listen = "localhost:5000" }, false},
		"networks":           {func(c *config.Config) { c.Listen, c.Clients.Allow = ":5000", []string{"10.0.0.0/8"} }, false},
		"rules":              {func(c *config.Config) { c.Listen, c.Access.Rules = ":5000", []config.AccessRule{{}} }, false},
		"logins": {func(c *config.Config) {
			c.Listeners = []config.Listener{{Address: ":1", Auth: config.Auth{Tokens: "f"}}}
		}, false},
		"certificates": {func(c *config.Config) {
			c.Listeners = []config.Listener{{Address: ":1", TLS: config.TLS{ClientCAFile: "f"}}}
		}, false},
	} {
		cfg := new(config.Config)
		test.change(cfg)
		core, lines := observer.New(zap.WarnLevel)
		warnOpen(cfg, zap.New(core))
		if (lines.Len() == 1) != test.want || lines.Len() > 1 {
			t.Errorf("%s: %d warnings", name, lines.Len())
		}
		for _, line := range lines.All() {
			if add := line.ContextMap()["add"].(string); !strings.HasPrefix(add, "clients: {allow: [127.0.0.1, ") {
				t.Errorf("%s: the line to add is %s", name, add)
			}
		}
	}
}

// The proposal has the networks in which the listener is.
func TestAllowLine(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("192.168.7.0/24")}
	for address, want := range map[string]string{
		":5000":            "clients: {allow: [127.0.0.1, 10.1.0.0/16, 192.168.7.0/24]}",
		"192.168.7.1:5000": "clients: {allow: [127.0.0.1, 192.168.7.0/24]}",
		"203.0.113.1:5000": "clients: {allow: [127.0.0.1, 10.0.0.0/8]}",
	} {
		if got := allowLine(networksAt(address, all)); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

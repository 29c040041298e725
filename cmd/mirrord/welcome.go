package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"mirrord/internal/config"
)

// logFormat returns log.format, and whether a person reads the log as it is written: then
// the start is told in words.
func logFormat(cfg *config.Config, log *os.File) (format string, person bool) {
	if cfg.Log.Format != config.AutoFormat {
		return cfg.Log.Format, false
	}
	if term.IsTerminal(int(log.Fd())) {
		return "console", true
	}
	return "json", false
}

// welcome tells a person what the mirror does, in five lines, and then what a client on
// this host needs. Listeners have the addresses that are listened on.
func welcome(cfg *config.Config, listeners []config.Listener, found clientKind) string {
	var b strings.Builder
	line := func(name, text string) { _, _ = fmt.Fprintf(&b, "  %-11s%s\n", name, text) }
	var urls, upstreams []string
	for _, l := range listeners {
		urls = append(urls, listenerURL(l))
	}
	for _, u := range cfg.Upstreams {
		upstreams = append(upstreams, u.Name)
	}
	_, _ = fmt.Fprintf(&b, "mirrord %s is ready; Ctrl-C stops it.\n", thisBuild().Version)
	line("address", strings.Join(urls, ", "))
	line("upstreams", strings.Join(upstreams, ", "))
	line("cache", cacheBounds(cfg))
	mirror := urls[max(0, slices.IndexFunc(listeners, func(l config.Listener) bool { return l.Upstream == "" }))]
	if found.block == nil {
		line("clients", "none found here; docs/clients.md has the configuration of each, with "+mirror)
		return b.String()
	}
	line(found.name, found.todo)
	return b.String() + "\n" + found.block(mirror, cfg.Upstreams)
}

// cacheBounds says where the cache is and what it may take.
func cacheBounds(cfg *config.Config) string {
	text := fmt.Sprintf("%s, at most %s", cfg.Cache.Dir, cfg.Cache.MaxSize)
	if cfg.Cache.MinFree > 0 {
		text += fmt.Sprintf(", leaving %s of the disk free", cfg.Cache.MinFree)
	}
	return text
}

// clientKind is a program that can pull through the mirror.
type clientKind struct {
	name     string
	programs []string
	dir      string // of its configuration
	todo     string
	block    func(mirror string, upstreams []config.Upstream) string // of its configuration
}

// clientKinds are in the order of who is told first: Docker brings a containerd along.
var clientKinds = []clientKind{
	{"docker", []string{"docker", "dockerd"}, "/etc/docker", "add this to /etc/docker/daemon.json, then: sudo systemctl restart docker", dockerBlock},
	{"podman", []string{"podman"}, "/etc/containers", "write this to /etc/containers/registries.conf.d/mirrord.conf", podmanBlock},
	{"containerd", []string{"containerd"}, "/etc/containerd", "write each of these files, see docs/clients.md for config_path", containerdBlock},
}

// findClient returns the first client on this host that can use the mirror, the zero
// client if there is none. exists reports whether there is a program, or a directory.
func findClient(cfg *config.Config, exists func(string) bool) clientKind {
	for _, c := range clientKinds {
		if c.name == "docker" && cfg.Upstreams[0].Name != dockerHub {
			continue // which is all that it can ask for
		}
		if exists(c.dir) || slices.ContainsFunc(c.programs, exists) {
			return c
		}
	}
	return clientKind{}
}

const dockerHub = "docker.io"

// onThisHost reports whether there is a program in PATH, or a directory.
func onThisHost(name string) bool {
	if filepath.IsAbs(name) {
		info, err := os.Stat(name)
		return err == nil && info.IsDir()
	}
	_, err := exec.LookPath(name)
	return err == nil
}

func dockerBlock(mirror string, _ []config.Upstream) string {
	return fmt.Sprintf("{ \"registry-mirrors\": [%q] }\n", mirror)
}

func podmanBlock(mirror string, upstreams []config.Upstream) string {
	insecure := ""
	host, plain := strings.CutPrefix(mirror, "http://")
	if plain {
		insecure = "insecure = true\n"
	}
	host = strings.TrimPrefix(host, "https://")
	var blocks []string
	for _, u := range upstreams {
		blocks = append(blocks, fmt.Sprintf("[[registry]]\nprefix = %[1]q\nlocation = %[1]q\n\n[[registry.mirror]]\nlocation = %[2]q\n%[3]s",
			u.Name, host+"/"+u.Name, insecure))
	}
	return strings.Join(blocks, "\n")
}

func containerdBlock(mirror string, upstreams []config.Upstream) string {
	var blocks []string
	for _, f := range containerdFiles(mirror, upstreams) {
		blocks = append(blocks, fmt.Sprintf("# %s\n%s", filepath.Join(containerdDir, f.path), f.text))
	}
	return strings.Join(blocks, "\n")
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"mirrord/internal/clientconfig"
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
	if found.name == "" {
		line("clients", "none found here; docs/clients.md has the configuration of each, with "+mirror)
		return b.String()
	}
	line(found.name, found.todo)
	return b.String() + "\n" + clientBlock(found.name, clientconfig.Mirror{URL: mirror, Upstreams: names(cfg)})
}

// clientBlock is the text of a client's file, or of each of several after its path.
func clientBlock(name string, m clientconfig.Mirror) string {
	c, err := clientconfig.For(name, m)
	if err != nil {
		return err.Error() + "\n"
	}
	if len(c.Files) == 1 {
		return c.Files[0].Text
	}
	var blocks []string
	for _, f := range c.Files {
		blocks = append(blocks, fmt.Sprintf("# %s\n%s", filepath.Join(c.Dir, f.Path), f.Text))
	}
	return strings.Join(blocks, "\n")
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
	name     string // as in clientconfig.Clients
	programs []string
	dir      string // of its configuration
	todo     string
}

// clientKinds are in the order of who is told first: Docker brings a containerd along.
var clientKinds = []clientKind{
	{"docker", []string{"docker", "dockerd"}, "/etc/docker", "add this to /etc/docker/daemon.json, then: sudo systemctl restart docker"},
	{"podman", []string{"podman"}, "/etc/containers", "write this to /etc/containers/registries.conf.d/mirrord.conf"},
	{"containerd", []string{"containerd"}, "/etc/containerd", "write each of these files, see docs/clients.md for config_path"},
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

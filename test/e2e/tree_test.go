//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/internal/hubsim"
)

// tree is a copy of a system in which packages are installed.
type tree struct {
	*home
	calls string // the file to which systemctl writes how it was called, if it is a stand-in
}

// newTree returns a copy of the tree of trees.sh. With booted, its packages find a running
// systemd, whose systemctl writes down what it is asked for and changes only files.
func newTree(t *testing.T, suite string, booted bool) *tree {
	t.Helper()
	name := "debian-" + suite
	if !exists(filepath.Join(clientsDir(), name)) {
		absent(t, newest, name)
	}
	h := newHome(t)
	h.must(t, "cp", "-a", filepath.Join(clientsDir(), name), h.path("tree"))
	h.write(t, "tree/etc/hosts", "") // which hosts is mounted over
	h.hosts = h.write(t, "hosts", noInternet)
	h.root = h.path("tree")
	x := &tree{h, h.path("tree/run/calls")}
	if booted {
		if err := os.MkdirAll(x.in("run/systemd/system"), 0o755); err != nil {
			t.Fatal(err)
		}
		standIn := h.write(t, "systemctl.sh", "#!/bin/sh\necho \"$*\" >>/run/calls"+
			"\ncase \"$*\" in *enable* | *disable* | *preset* | *mask*) SYSTEMD_OFFLINE=1 exec systemctl.real \"$@\" ;; esac\n")
		x.must(t, "mv", "/usr/bin/systemctl", "/usr/bin/systemctl.real")
		x.must(t, "install", "-m", "755", standIn, "/usr/bin/systemctl")
	}
	return x
}

// in returns the path from outside of a path in the tree.
func (x *tree) in(path string) string { return x.path("tree", path) }

// called checks that systemctl was last asked to act on the service, and forgets it.
func (x *tree) called(t *testing.T, action string) {
	t.Helper()
	calls, _ := os.ReadFile(x.calls)
	_ = os.Remove(x.calls)
	var actions []string
	for line := range strings.Lines(string(calls)) {
		for _, word := range strings.Fields(line) {
			switch word {
			case "start", "restart", "try-restart", "stop":
				actions = append(actions, word)
			}
		}
	}
	diff(t, "what systemctl was asked for", action, strings.Join(actions, " "))
}

// wantedBy is the link that enables the unit.
const wantedBy = "etc/systemd/system/multi-user.target.wants/mirrord.service"

// enabled checks that the unit is enabled.
func (x *tree) enabled(t *testing.T) {
	t.Helper()
	if link, err := os.Readlink(x.in(wantedBy)); err != nil || !exists(x.in(link)) {
		t.Errorf("the unit is not enabled: %s, %v", link, err)
	}
}

// cache makes the directories as systemd does for the unit.
func (x *tree) cache(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"var/cache/private/mirrord", "var/lib/private/mirrord"} {
		if err := os.MkdirAll(x.in(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("private/mirrord", x.in(strings.Replace(dir, "private/", "", 1))); err != nil {
			t.Fatal(err)
		}
	}
}

// serve starts the installed daemon as the unit does, with the addresses in its file.
func (x *tree) serve(t *testing.T, hub *hubsim.Hub) *mirror {
	t.Helper()
	m := &mirror{home: x.home, address: freeAddress(t), admin: freeAddress(t), program: "/usr/bin/mirrord", settings: []string{
		"--tags-fresh", tagsFresh.String(), "--upstream", "name=docker.io,url=" + hub.URL(),
	}}
	x.configure(t, "\n#listen: 127.0.0.1:5000\n", "\nlisten: "+m.address+"\n")
	x.configure(t, "\n  #listen: 127.0.0.1:5001\n", "\n  listen: "+m.admin+"\n")
	x.env = []string{"CONFIGURATION_DIRECTORY=/etc/mirrord", "CACHE_DIRECTORY=/var/cache/mirrord"}
	m.run(t, "--cache-min-free", "0", "--quota-probe", "0s")
	return m
}

// configure replaces a line of the configuration.
func (x *tree) configure(t *testing.T, old, new string) {
	t.Helper()
	content, err := os.ReadFile(x.in("etc/mirrord/mirrord.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		t.Fatalf("the configuration has no %q:\n%s", old, content)
	}
	x.write(t, "tree/etc/mirrord/mirrord.yaml", strings.Replace(string(content), old, new, 1))
}

// leftovers returns the files and links that are named after mirrord.
func (x *tree) leftovers(t *testing.T) string {
	t.Helper()
	return x.must(t, "find", "/etc", "/usr", "/var", "-name", "*mirrord*")
}

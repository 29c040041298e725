//go:build e2e

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// unpackRPM unpacks a package into a directory of h.
func unpackRPM(t *testing.T, h *home, path, dir string) {
	t.Helper()
	h.must(t, "sh", "-c", "mkdir "+dir+" && cd "+dir+" && rpm2cpio "+path+" | cpio -idm --quiet --no-absolute-filenames")
}

// The package for Red Hat lists, unpacks and runs.
func TestRPM(t *testing.T) {
	h, path := newHome(t), one(t, built(t).first, "*.x86_64.rpm")
	files := strings.Fields(h.must(t, "rpm", "-qpl", path))
	unpackRPM(t, h, path, "tree")
	for _, file := range files {
		if !exists(h.path("tree", file)) {
			t.Errorf("the package lists %s, but does not have it", file)
		}
	}
	for _, file := range []string{"/usr/bin/mirrord", "/usr/lib/systemd/system/mirrord.service", "/usr/share/zsh/site-functions/_mirrord",
		"/usr/share/mirrord/dashboards/mirrord-overview.json", "/usr/share/mirrord/dashboards/alerts.yml"} {
		if !strings.Contains(strings.Join(files, "\n")+"\n", file+"\n") {
			t.Errorf("the package does not list %s", file)
		}
	}
	diff(t, "configuration files", "/etc/logrotate.d/mirrord\n/etc/mirrord/mirrord.yaml", h.must(t, "rpm", "-qpc", path))
	if version := h.must(t, h.path("tree/usr/bin/mirrord"), "--version"); !strings.Contains(version, newVersion) {
		t.Errorf("the binary is %s", version)
	}
}

// rpm installs, upgrades and removes it with what the presets say of the service; the
// tree is one of Debian, because the scripts need only a shell.
func TestRPMScripts(t *testing.T) {
	d, x := built(t), newTree(t, "bookworm", true)
	rpm := func(args ...string) {
		t.Helper()
		outside := newHome(t)
		outside.must(t, "rpm", append([]string{"--root", x.in(""), "--dbpath", "/var/lib/rpm", "--force-debian", "--nodeps", "--nosignature"}, args...)...)
	}
	rpm("-i", one(t, d.old, "*.rpm"))
	x.called(t, "")
	x.enabled(t) // as Debian's presets have it
	x.configure(t, "\n#listen: 127.0.0.1:5000\n", "\nlisten: 127.0.0.1:5005\n")
	x.cache(t)

	rpm("-U", one(t, d.first, "*.x86_64.rpm"))
	x.called(t, "try-restart")
	if config := x.must(t, "mirrord", "config", "print", "--config", "/etc/mirrord/mirrord.yaml"); !strings.Contains(config, "127.0.0.1:5005") {
		t.Errorf("the upgrade has replaced the configuration:\n%s", config)
	}

	rpm("-e", "mirrord")
	x.called(t, "stop")
	if _, err := os.Lstat(x.in(wantedBy)); err == nil {
		t.Error("the removed unit is still enabled")
	}
	for _, kept := range []string{"etc/mirrord/mirrord.yaml.rpmsave", "var/cache/private/mirrord"} {
		if !exists(x.in(kept)) {
			t.Errorf("removing the package has removed %s", kept)
		}
	}
	remove := regexp.MustCompile(`(?m)^    sudo (rm -rf .*)$`).FindStringSubmatch(readRepository(t, "docs/install.md"))
	if remove == nil {
		t.Fatal("docs/install.md does not say how to remove what is left")
	}
	x.must(t, "sh", "-c", remove[1])
	diff(t, "what is left after that", "", x.leftovers(t))
}

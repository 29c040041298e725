//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// The package for Debian is installed, serves, is upgraded, removed and purged, as
// Debian's policy has it: with a running systemd and, as in a chroot, without.
func TestDebianPackage(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		for name, booted := range map[string]bool{" booted": true, "": false} {
			t.Run(suite+name, func(t *testing.T) { testDebianPackage(t, newTree(t, suite, booted), booted) })
		}
	}
}

func testDebianPackage(t *testing.T, x *tree, booted bool) {
	d, hub := built(t), startHub(t)
	called := func(action string) {
		if booted {
			x.called(t, action)
		}
	}
	x.write(t, "tree/etc/apt/apt.conf.d/yes", `APT::Get::Assume-Yes "true";`)
	x.must(t, "sh", "-c", "cd "+d.old+" && "+line(t, "docs/install.md", "apt install "))
	called("start")
	if !exists(x.in("usr/share/man/man1/mirrord-serve.1.gz")) || !exists(x.in("usr/share/zsh/vendor-completions/_mirrord")) {
		t.Error("there are no manual pages, or no completions")
	}
	x.enabled(t)
	if out := x.must(t, "sh", "-c", "systemd-analyze verify --man=no /usr/lib/systemd/system/mirrord.service 2>&1"); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	x.must(t, "mirrord", "config", "check", "/etc/mirrord/mirrord.yaml")
	if !exists(x.in("etc/logrotate.d/mirrord")) {
		t.Error("the audit log is not rotated")
	}
	x.cache(t)
	img := publishOne(t, hub, "packaged", 7)
	m := x.serve(t, hub)
	pullThrough(t, m, img)
	m.process.end(t)

	x.must(t, "dpkg", "-i", one(t, d.first, "*_amd64.deb"))
	called("restart")
	if version := x.must(t, "mirrord", "--version"); !strings.Contains(version, newVersion) {
		t.Errorf("after the upgrade it is %s", version)
	}
	x.must(t, "sh", "-c", "ls /usr/share/mirrord/dashboards/mirrord-overview.json /usr/share/mirrord/dashboards/alerts.yml /usr/share/mirrord/dashboards/recording.yml")
	hub.Down()
	m.run(t, "--cache-min-free", "0", "--quota-probe", "0s") // with the same file
	pullThrough(t, m, img)
	m.process.end(t)

	x.must(t, "apt", "remove", "mirrord")
	called("stop")
	if !exists(x.in("etc/mirrord/mirrord.yaml")) || !exists(x.in("var/cache/private/mirrord/blobs")) || exists(x.in("usr/bin/mirrord")) {
		t.Error("removing the package has removed the configuration or the cache, or not the binary")
	}
	x.must(t, "apt", "purge", "mirrord")
	diff(t, "what is left after a purge", "", x.leftovers(t))
}

// pullThrough pulls an image through a mirror with the client of Debian.
func pullThrough(t *testing.T, m *mirror, img image) {
	t.Helper()
	c := newSkopeo(t, debian12, m.address)
	if err := c.pull(img.ref); err != nil {
		t.Fatal(err)
	}
	check(t, c, img)
}

// Lintian has nothing to say about the package but what its overrides explain.
func TestLintian(t *testing.T) {
	h := newHome(t)
	if out := h.must(t, "lintian", "--fail-on", "error,warning", one(t, built(t).first, "*_amd64.deb")); out != "" {
		t.Error(out)
	}
}

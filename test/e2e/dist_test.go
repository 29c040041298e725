//go:build e2e

package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A release has these files, with their checksums, and is the same bytes wherever it is
// built. Go's cache is shared between the two: what the compiler does is Go's promise.
func TestReleaseIsReproducible(t *testing.T) {
	d := built(t)
	want := []string{
		"SHA256SUMS",
		"mirrord-0.2.0-1.aarch64.rpm", "mirrord-0.2.0-1.x86_64.rpm",
		"mirrord-v0.2.0-linux-amd64-docker.tar", "mirrord-v0.2.0-linux-amd64.spdx.json", "mirrord-v0.2.0-linux-amd64.tar.gz",
		"mirrord-v0.2.0-linux-arm64-docker.tar", "mirrord-v0.2.0-linux-arm64.spdx.json", "mirrord-v0.2.0-linux-arm64.tar.gz",
		"mirrord-v0.2.0-oci.tar",
		"mirrord_0.2.0-1_amd64.deb", "mirrord_0.2.0-1_arm64.deb",
	}
	first, second := contents(t, d.first), contents(t, d.second)
	diff(t, "the files of a release", want, slices.Sorted(maps.Keys(first)))
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s differs between two builds", name)
		}
	}
	if err := command(d.first, "sha256sum", "--check", "--strict", "SHA256SUMS"); err != nil {
		t.Error(err)
	}
}

// contents returns the content of the files of a directory.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, file := range files {
		if all[file.Name()], err = os.ReadFile(filepath.Join(dir, file.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The binary of the archive says what it is, and its SBOM has every module that it is
// built from and no other.
func TestReleaseArchive(t *testing.T) {
	d, h := built(t), newHome(t)
	h.must(t, "tar", "-xzf", one(t, d.first, "*-amd64.tar.gz"), "--strip-components=1")
	commit := h.must(t, "git", "-C", filepath.Dir(d.first), "rev-parse", "HEAD")
	var said map[string]string
	if err := json.Unmarshal([]byte(h.must(t, h.path("mirrord"), "version", "--json")), &said); err != nil {
		t.Fatal(err)
	}
	if said["version"] != newVersion || said["commit"] != commit || said["date"] == "" {
		t.Errorf("mirrord version says %v, want %s of %s", said, newVersion, commit)
	}
	for _, name := range []string{"README.md", "docs/install.md", "man/mirrord-serve.1", "completions/mirrord.zsh", "systemd/mirrord.service", "mirrord.yaml",
		"deploy/compose/compose.yaml", "deploy/compose/config/mirrord.yaml", "deploy/kubernetes/base/kustomization.yaml",
		"dashboards/mirrord-overview.json", "dashboards/alerts.yml", "dashboards/alerts_test.yml", "dashboards/recording.yml", "dashboards/prometheus.yml"} {
		if !exists(h.path(name)) {
			t.Errorf("the archive has no %s", name)
		}
	}
	diff(t, "the modules of the SBOM", linked(t), listed(t, one(t, d.first, "*-amd64.spdx.json")))
}

// linked returns the modules of the packages of mirrord, with their versions.
func linked(t *testing.T) []string {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "mirrord/cmd/mirrord")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(modules)
	return slices.DeleteFunc(slices.Compact(modules), func(line string) bool { return line == "" })
}

// listed returns the modules of an SBOM, apart from mirrord and the standard library.
func listed(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Packages []struct{ Name, VersionInfo string }
	}
	if err := json.Unmarshal(content, &doc); err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, p := range doc.Packages {
		if p.Name != "mirrord" && p.Name != "stdlib" {
			modules = append(modules, p.Name+" "+p.VersionInfo)
		}
	}
	slices.Sort(modules)
	return modules
}

// The packages for arm64 have binaries for it, which need no library.
func TestPackagesForARM(t *testing.T) {
	d, h := built(t), newHome(t)
	h.must(t, "dpkg-deb", "-x", one(t, d.first, "*_arm64.deb"), h.path("deb"))
	unpackRPM(t, h, one(t, d.first, "*.aarch64.rpm"), "rpm")
	for _, tree := range []string{"deb", "rpm"} {
		binary, err := elf.Open(h.path(tree, "usr/bin/mirrord"))
		if err != nil {
			t.Fatal(err)
		}
		defer binary.Close()
		if libraries, err := binary.ImportedLibraries(); binary.Machine != elf.EM_AARCH64 || len(libraries) > 0 || err != nil {
			t.Errorf("the binary in the %s is for %v and needs %v, %v", tree, binary.Machine, libraries, err)
		}
	}
}

// make install builds what is older than its sources, and make uninstall leaves only the
// configuration.
func TestMakeInstall(t *testing.T) {
	d, h := built(t), newHome(t)
	checkout, dest := h.path("checkout"), h.path("dest")
	h.must(t, "cp", "-a", filepath.Dir(d.second), checkout)
	install := func() {
		if err := makeIn(checkout, "install", "DESTDIR="+dest); err != nil {
			t.Fatal(err)
		}
	}
	install()
	main := filepath.Join(checkout, "cmd/mirrord/main.go")
	h.must(t, "sed", "-i", "s/A pull-through mirror/A changed mirror/", main)
	install()
	if help := h.must(t, filepath.Join(dest, "usr/local/bin/mirrord")); !strings.Contains(help, "A changed mirror") {
		t.Errorf("make install has installed a stale binary, which says %s", help)
	}
	if err := makeIn(checkout, "uninstall", "DESTDIR="+dest); err != nil {
		t.Fatal(err)
	}
	diff(t, "what is left", "./etc/mirrord/mirrord.yaml", h.must(t, "sh", "-c", "cd dest && find . -type f"))
}

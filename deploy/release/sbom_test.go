package main

import (
	"bytes"
	"runtime/debug"
	"testing"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
)

// An SBOM has every module of the binary, once, and reads back.
func TestSBOM(t *testing.T) {
	r := newRelease(t)
	if err := r.sboms(); err != nil {
		t.Fatal(err)
	}
	doc, err := json.Read(bytes.NewReader(read(t, r.file("-linux-amd64.spdx.json"))))
	if err != nil {
		t.Fatal(err)
	}
	versions := make(map[string]string)
	identifiers := make(map[spdx.ElementID]bool)
	for _, p := range doc.Packages {
		versions[p.PackageName] = p.PackageVersion
		if identifiers[p.PackageSPDXIdentifier] {
			t.Errorf("two packages are %s", p.PackageSPDXIdentifier)
		}
		identifiers[p.PackageSPDXIdentifier] = true
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) == 0 {
		t.Fatal("this test does not know its modules")
	}
	for _, m := range info.Deps {
		if versions[m.Path] != m.Version {
			t.Errorf("%s is %q in the SBOM, want %s", m.Path, versions[m.Path], m.Version)
		}
	}
	if versions["mirrord"] != r.version || versions["stdlib"] == "" {
		t.Errorf("mirrord is %q, the standard library %q", versions["mirrord"], versions["stdlib"])
	}
}

func TestComponent(t *testing.T) {
	c := component("github.com/BurntSushi/toml", "v1.4.0")
	if want := "pkg:golang/github.com/burntsushi/toml@v1.4.0"; c.PackageExternalReferences[0].Locator != want {
		t.Errorf("the purl is %s, want %s", c.PackageExternalReferences[0].Locator, want)
	}
	if want := "https://proxy.golang.org/github.com/!burnt!sushi/toml/@v/v1.4.0.zip"; c.PackageDownloadLocation != want {
		t.Errorf("the location is %s, want %s", c.PackageDownloadLocation, want)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newRelease returns a release of one platform whose binary is a copy of this test's.
func newRelease(t *testing.T) *release {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	r := &release{
		root:       filepath.Join("..", ".."),
		out:        t.TempDir(),
		version:    "v0.3.2-dev.5+gcafe",
		commit:     "cafe",
		maintainer: "Tests <tests@example.org>",
		time:       time.Unix(1700000000, 0).UTC(),
		platforms:  []platform{"linux/amd64"},
		binaries:   t.TempDir(),
	}
	if err := os.MkdirAll(filepath.Dir(r.binary("linux/amd64")), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.binary("linux/amd64"), content, 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestVersions(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	for _, version := range []string{"", "0.1.0", "v0.1", "v1", "unknown", "v0.1.0 "} {
		if err := run([]string{"-version", version, "-out", t.TempDir(), "-platforms", "none/none"}); err == nil || !bytes.Contains([]byte(err.Error()), []byte("is not a version")) {
			t.Errorf("-version %q: %v", version, err)
		}
	}
}

func TestSums(t *testing.T) {
	r := newRelease(t)
	if err := os.WriteFile(filepath.Join(r.out, "mirrord-a"), []byte("a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.sums(); err != nil {
		t.Fatal(err)
	}
	const want = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7  mirrord-a\n"
	if got := string(read(t, filepath.Join(r.out, "SHA256SUMS"))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The archive has the manifests, and no password that lies beside them.
func TestArchiveHasManifests(t *testing.T) {
	r := newRelease(t)
	r.root = t.TempDir()
	for _, name := range []string{"compose/compose.yaml", "compose/prometheus.yml", "compose/config/hub-password", "compose/.env", "kubernetes/base/service.yaml"} {
		path := filepath.Join(r.root, "deploy", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := r.deployed("top")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range all {
		paths = append(paths, e.path)
	}
	want := []string{"top/deploy/compose/compose.yaml", "top/deploy/compose/prometheus.yml", "top/deploy/kubernetes/base/service.yaml"}
	if !slices.Equal(paths, want) {
		t.Errorf("got %v, want %v", paths, want)
	}
}

// Packages and archives have what watches a mirror, as the source has it.
func TestMonitoring(t *testing.T) {
	r := newRelease(t)
	r.root = filepath.Join("..", "..")
	all, err := r.monitoring("usr/share/mirrord/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range all {
		paths = append(paths, strings.TrimPrefix(e.path, "usr/share/mirrord/dashboards/"))
	}
	want := []string{"mirrord-overview.json", "mirrord-upstreams.json", "alerts.yml", "alerts_test.yml", "prometheus.yml", "recording.yml"}
	if !slices.Equal(paths, want) {
		t.Errorf("got %v, want %v", paths, want)
	}
	r.root = t.TempDir()
	if _, err := r.monitoring("x"); err == nil {
		t.Error("a source without dashboards is packed")
	}
}

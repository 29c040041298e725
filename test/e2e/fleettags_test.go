//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tags returns the files of what tags name.
func (s *objectStore) tags(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(s.home.path("data", storeBucket, "office", "v1", "pub", "t", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Mirrors with one secret ask once what a tag names, and believe nobody else.
func TestFleetTags(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	store.home.write(t, "fleet", "the secret of all mirrors\n")
	start := func() *mirror {
		return startMemberWith(t, hub, store, "--tags-fresh", "10m", "--fleet-secret-file", store.home.path("fleet"))
	}
	first, second := start(), start()
	img := publishLayers(t, hub, 2, 512<<10)
	pull := func(m *mirror, phase string) (heads int) {
		t.Helper()
		c := newSkopeo(t, debian12, m.address)
		return spent(t, hub, m, phase, func() {
			if err := c.pull(img.ref); err != nil {
				t.Fatal(err)
			}
			check(t, c, img)
		}).ManifestHEADs
	}
	if n := pull(first, "first"); n != 1 {
		t.Errorf("the first mirror sends %d HEADs", n)
	}
	first.uploaded(t, store, img)
	first.process.await(t, time.Minute, func() bool { return len(store.tags(t)) == 1 })
	if n := pull(second, "second"); n != 0 {
		t.Errorf("the second mirror sends %d HEADs", n)
	}
	if n := second.metrics(t)[`mirrord_fleet_tags_total{result="used"}`]; n != 1 {
		t.Errorf("the second mirror has used %v tags of the first", n)
	}

	object := store.tags(t)[0]
	right, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(string(right), "sha256:", "sha256:0", 1)
	if err := os.WriteFile(object, []byte(wrong[:len(right)]), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := pull(start(), "changed"); n != 1 {
		t.Errorf("a mirror that finds another object sends %d HEADs", n)
	}
	first.process.await(t, time.Minute, func() bool {
		now, err := os.ReadFile(object)
		return err == nil && string(now) != wrong[:len(right)]
	})
	if n := pull(start(), "replaced"); n != 0 {
		t.Errorf("a mirror that finds it replaced sends %d HEADs", n)
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mirrord/test/smalldisk"
)

// mount mounts a file system of that size, in MiB, below the mirror's home, and
// puts the cache there.
func (p *process) mount(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = filepath.Join(p.home, "disk")
	check(t, os.Mkdir(dir, 0o755))
	smalldisk.Mount(t, dir, fmt.Sprintf("size=%dm", size))
	p.cache = filepath.Join(dir, "cache")
	return dir
}

// hog takes all but so many bytes of a file system, until the file is removed.
func hog(t *testing.T, dir string, left int) (path string) {
	t.Helper()
	path = filepath.Join(dir, "hog")
	f, err := os.Create(path)
	check(t, err)
	defer func() { check(t, f.Close()) }()
	for piece := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(piece)
	}
	info, err := f.Stat()
	check(t, err)
	check(t, f.Truncate(info.Size()-int64(left)))
	return path
}

// officeOf pulls all images at once, each several times.
func officeOf(t *testing.T, c *catalog, m *process) {
	t.Helper()
	var office sync.WaitGroup
	for range 4 {
		office.Go(func() { c.pullAll(t, m) })
	}
	office.Wait()
	check(t, m.await("mirrord_fills_in_flight", "0"))
}

// wantReady checks that the mirror is ready, and what it says it does without.
func wantReady(t *testing.T, m *process, without ...string) {
	t.Helper()
	status, body, err := m.ask("/readyz")
	if err != nil || status != 200 || strings.Count(body, "\n") != 1+len(without) {
		t.Errorf("/readyz answers %d %q, %v; want it to do without %q", status, body, err, without)
	}
	for _, part := range without {
		if !strings.Contains(body, "\n"+part+": ") {
			t.Errorf("/readyz answers %q, and not that it does without %s", body, part)
		}
	}
}

// A disk that is full, too small, or read-only breaks no pull and pages no one:
// every pull is correct, the mirror stays ready, the log says it once, and caching
// resumes when the disk recovers.
func TestFullDisk(t *testing.T) {
	m, c := newMirror(t), newCatalog(t)
	dir := m.mount(t, 64)
	for i := range 12 { // more than the disk holds
		c.addLayers(t, fmt.Sprintf("library/image-%d", i), 2, 4<<20, uint64(i))
	}

	full := hog(t, dir, 600<<10)
	check(t, m.serve(c.upstream()))
	officeOf(t, c, m)
	wantReady(t, m, "disk", "index")
	check(t, m.await(`mirrord_cache_degraded{part="disk"}`, "1"))

	check(t, os.Remove(full))
	check(t, m.await(`mirrord_cache_degraded{part="disk"}`, "0"))
	officeOf(t, c, m)
	wantReady(t, m, "index") // it wants all of these 64 MiB for itself
	if _, text, _ := m.ask("/metrics"); strings.Contains(text, "\nmirrord_cache_evictions_total 0\n") {
		t.Error("more was cached than the disk holds, and nothing evicted")
	}

	smalldisk.Remount(t, dir, "ro")
	officeOf(t, c, m)
	wantReady(t, m, "disk", "index")

	smalldisk.Remount(t, dir, "rw,size=400m")
	check(t, m.await(`mirrord_cache_degraded{part="disk"}`, "0"))
	check(t, m.await(`mirrord_cache_degraded{part="index"}`, "0"))
	officeOf(t, c, m)
	wantReady(t, m)
	check(t, m.end(terminate))

	log := m.text()
	for text, want := range map[string]int{"disk is failing or full": 2, "index is failing": 1, `"recovered"`: 3, "fill failed": 0, "panic": 0} {
		if got := strings.Count(log, text); got != want {
			t.Errorf("the log says %q %d times, want %d", text, got, want)
		}
	}

	c.hub.Down()
	check(t, m.serve(c.upstream())) // what came meanwhile is remembered
	officeOf(t, c, m)
	if found, err := takeStock(m.cache); err != nil || len(found.parts) > 0 {
		t.Errorf("%d unfinished fills are left, %v", len(found.parts), err)
	}
}

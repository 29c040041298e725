package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mirrord/test/smalldisk"
)

// A mirror starts on a read-only disk and serves what it has, though the upstream
// is down: tags, manifests and blobs. Whether it was stopped or killed before, and
// whether its lock file is there.
func TestReadOnlyStart(t *testing.T) {
	for name, prepare := range map[string]func(m *process) error{
		"stopped": func(m *process) error { return m.end(terminate) },
		"killed": func(m *process) error {
			if err := errors.Join(m.end(terminate), m.serve()); err != nil { // so that the index has all
				return err
			}
			m.kill()
			return nil
		},
		"no files to write to": func(m *process) error {
			return errors.Join(m.end(terminate), os.Remove(filepath.Join(m.cache, "lock")),
				os.Remove(filepath.Join(m.cache, "format")), os.Remove(filepath.Join(m.cache, "fills")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := newMirror(t), newCatalog(t)
			dir := m.mount(t, 200)
			c.addLayers(t, "library/cached", 2, 1<<20, 1)
			check(t, m.serve(c.upstream()))
			c.pullAll(t, m)
			check(t, m.await("mirrord_fills_in_flight", "0"))
			check(t, prepare(m))
			smalldisk.Remount(t, dir, "ro")
			c.hub.Down()
			check(t, m.serve(c.upstream()))
			c.pullAll(t, m)
			wantReady(t, m, "index")
			check(t, m.end(terminate))

			check(t, c.hub.Up())
			smalldisk.Remount(t, dir, "rw")
			check(t, m.serve(c.upstream()))
			c.pullAll(t, m)
			wantReady(t, m)
			check(t, m.end(terminate))
		})
	}
}

// An empty one is no reason not to serve either.
func TestReadOnlyEmptyStart(t *testing.T) {
	m, c := newMirror(t), newCatalog(t)
	dir := m.mount(t, 200)
	check(t, os.Mkdir(m.cache, 0o750))
	c.addLayers(t, "library/new", 2, 1<<20, 1)
	smalldisk.Remount(t, dir, "ro")
	check(t, m.serve(c.upstream()))
	officeOf(t, c, m)
	wantReady(t, m, "disk", "index")
	smalldisk.Remount(t, dir, "rw")
	check(t, m.await(`mirrord_cache_degraded{part="disk"}`, "0"))
	check(t, m.await(`mirrord_cache_degraded{part="index"}`, "0"))
	officeOf(t, c, m)
	c.hub.Down()
	officeOf(t, c, m)
	check(t, m.end(terminate))
}

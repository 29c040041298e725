package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mirrord/test/smalldisk"
)

// mountImage mounts an ext4 below the mirror's home that turns read-only at the
// first error, puts the cache there, and returns what makes such an error.
func (p *process) mountImage(t *testing.T) (fault func() error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	image, dir := filepath.Join(p.home, "image"), filepath.Join(p.home, "disk")
	check(t, os.Mkdir(dir, 0o755))
	check(t, os.WriteFile(image, nil, 0o600))
	check(t, os.Truncate(image, 200<<20))
	out, err := exec.Command("mkfs.ext4", "-qF", image).CombinedOutput()
	if err == nil {
		out, err = exec.Command("mount", "-o", "loop,errors=remount-ro", image, dir).CombinedOutput()
	}
	if err != nil {
		t.Skipf("no file system in a file to be had here: %v %s", err, out)
	}
	t.Cleanup(func() { smalldisk.Unmount(t, dir) })
	p.cache = filepath.Join(dir, "cache")
	device, err := exec.Command("losetup", "--noheadings", "--output", "NAME", "--associated", image).Output()
	check(t, err)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(device))), "trigger_fs_error")
	if _, err := os.Stat(trigger); err != nil {
		t.Skipf("this kernel makes no errors on demand: %v", err)
	}
	return func() error { return os.WriteFile(trigger, []byte("1"), 0) }
}

// The kernel gives a disk up in the middle of it all: clients are served, the
// mirror ends when it is told to, and starts again on what can still be read.
func TestDiskThatIsGivenUp(t *testing.T) {
	m, c := newMirror(t), newCatalog(t)
	fault := m.mountImage(t)
	c.addLayers(t, "library/cached", 2, 1<<20, 1)
	check(t, m.serve(c.upstream()))
	officeOf(t, c, m)
	check(t, fault())
	c.addLayers(t, "library/new", 2, 1<<20, 2)
	officeOf(t, c, m)
	check(t, m.await(`mirrord_cache_degraded{part="disk"}`, "1"))
	check(t, m.await(`mirrord_cache_degraded{part="index"}`, "1"))
	for range 2 {
		m.signal(terminate)
		select {
		case err := <-m.ended:
			m.running = nil
			check(t, err)
		case <-time.After(20 * time.Second):
			t.Fatalf("it does not end\n%s", m.text())
		}
		check(t, m.serve(c.upstream()))
		officeOf(t, c, m)
	}
}

// Package smalldisk gives tests a small file system of their own, to fill up, to
// make read-only and to enlarge.
package smalldisk

import (
	"os"
	"os/exec"
	"testing"
)

// Mount mounts a tmpfs with options such as size=64m at dir, or at a new directory
// if that is empty, until the test ends, and returns where. It skips the test
// where mounting is not possible.
func Mount(t *testing.T, dir, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	if dir == "" {
		dir = t.TempDir()
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system to be had here: %s", out)
	}
	t.Cleanup(func() { Unmount(t, dir) })
	return dir
}

// Bind mounts the directory from at dir as well, until the test ends. It comes
// after a Mount, which skips the test where mounting is not possible.
func Bind(t *testing.T, from, dir string) {
	t.Helper()
	if out, err := exec.Command("mount", "--bind", from, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount --bind: %s", out)
	}
	t.Cleanup(func() { Unmount(t, dir) })
}

// Unmount takes off what is mounted at dir, also while it is in use.
func Unmount(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
		t.Errorf("umount: %s", out)
	}
}

// Remount changes what is mounted at dir: ro, rw, or its size.
func Remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %s", out)
	}
}

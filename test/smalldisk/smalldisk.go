// Package smalldisk mounts small file systems for tests, which can fill them, make
// them read-only and resize them.
package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Mount mounts a tmpfs with options such as size=64m until the test ends, at dir or, if
// that is empty, at a new directory, which it returns. It skips the test if mounting is
// not possible.
func Mount(t *testing.T, dir, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	if dir == "" {
		dir = t.TempDir()
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system: %s", out)
	}
	t.Cleanup(func() { Unmount(t, dir) })
	return dir
}

// Image mounts a file of 256 MiB with a file system of that kind, as in mkfs.<kind>,
// until the test ends, and returns the directory. It skips the test if that is not
// possible.
func Image(t *testing.T, kind string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mkfs."+kind, "-q", image).CombinedOutput()
	if err == nil {
		out, err = exec.Command("mount", "-o", "loop", image, dir).CombinedOutput()
	}
	if err != nil {
		t.Skipf("cannot mount a file with %s: %v %s", kind, err, out)
	}
	t.Cleanup(func() { Unmount(t, dir) })
	return dir
}

// Quota returns a directory with a quota of size MiB on a btrfs, mounted as by Image.
// The file system has, and reports, more free space than the quota.
func Quota(t *testing.T, size int) string {
	t.Helper()
	root := Image(t, "btrfs")
	dir := filepath.Join(root, "quota")
	for _, args := range [][]string{
		{"quota", "enable", root},
		{"subvolume", "create", dir},
		{"qgroup", "limit", fmt.Sprintf("%dM", size), dir},
	} {
		if out, err := exec.Command("btrfs", args...).CombinedOutput(); err != nil {
			t.Skipf("cannot set a quota: btrfs %s: %v %s", args, err, out)
		}
	}
	return dir
}

// Bind also mounts the directory from at dir, until the test ends. Call Mount before,
// which skips the test if mounting is not possible.
func Bind(t *testing.T, from, dir string) {
	t.Helper()
	if out, err := exec.Command("mount", "--bind", from, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount --bind: %s", out)
	}
	t.Cleanup(func() { Unmount(t, dir) })
}

// Unmount unmounts dir, even while it is in use.
func Unmount(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
		t.Errorf("umount: %s", out)
	}
}

// Remount changes the mount options of dir: ro, rw, or the size.
func Remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %s", out)
	}
}

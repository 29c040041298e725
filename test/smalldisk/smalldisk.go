// Package smalldisk gives tests a small file system of their own, to fill up, to
// make read-only and to enlarge.
package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// Image mounts a file of 256 MiB that holds a file system of that kind, which is
// the name of its mkfs, until the test ends, and returns where. It skips the test
// where that is not possible.
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
		t.Skipf("no %s in a file to be had here: %v %s", kind, err, out)
	}
	t.Cleanup(func() { Unmount(t, dir) })
	return dir
}

// Quota is a directory on a btrfs, mounted as by Image, that takes no more than so
// many MiB. Its file system has more, and says so.
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
			t.Skipf("no quota to be had here: btrfs %s: %v %s", args, err, out)
		}
	}
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

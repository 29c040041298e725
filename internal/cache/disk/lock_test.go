package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mirrord/internal/cache/disk"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	unlock, err := disk.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = disk.Lock(dir)
	if !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("second lock: %v, want ErrInUse", err)
	}
	want := fmt.Sprintf("cache directory %s is used by another mirrord (pid %d): stop it or choose another cache.dir", dir, os.Getpid())
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = disk.Lock(dir)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

// A killed owner leaves its file, maybe with a longer process id.
func TestLockAfterKill(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("1234567890\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	unlock, err := disk.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	text, err := os.ReadFile(filepath.Join(dir, "lock"))
	if want := fmt.Sprintln(os.Getpid()); err != nil || string(text) != want {
		t.Errorf("lock file holds %q, %v, want %q", text, err, want)
	}
}

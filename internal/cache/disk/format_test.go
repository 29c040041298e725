package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mirrord/internal/cache/disk"
)

func TestFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "format")
	for _, was := range []string{"absent", "1\n", "", "?", "0"} {
		if was != "absent" {
			if err := os.WriteFile(path, []byte(was), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.CheckFormat(filepath.Dir(path)); err != nil {
			t.Errorf("%q: %v", was, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != "1\n" {
			t.Errorf("%q: the file holds %q, %v", was, now, err)
		}
	}
	if err := os.WriteFile(path, []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.CheckFormat(filepath.Dir(path)); !errors.Is(err, disk.ErrFormat) {
		t.Errorf("a newer format: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != "2\n" {
		t.Errorf("a newer format is the file holds %q, %v", now, err)
	}
}

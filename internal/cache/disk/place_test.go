package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/cache/disk"
	"mirrord/test/smalldisk"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A blob directory that is a link is read, walked and written like any other.
func TestLinkedBlobs(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "blobs")
	check(t, os.Mkdir(elsewhere, 0o750))
	check(t, os.Symlink(elsewhere, filepath.Join(dir, "blobs")))
	store := open(t, dir)
	d := put(t, store, dir, "content")
	for _, store := range []*disk.Store{store, open(t, dir)} {
		if got, strays := all(t, store); len(got) != 1 || got[0] != d || len(strays) != 0 {
			t.Errorf("all yields %v and the strays %q", got, strays)
		}
		body, err := store.Open(t.Context(), d)
		check(t, err)
		check(t, body.Close())
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "sha256", d.Encoded()[:2], d.Encoded())); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "blobs")); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
}

// Something else in the place of a directory is refused and not removed: the disk
// that a link leads to may be mounted later.
func TestNotADirectory(t *testing.T) {
	for name, lay := range map[string]func(path string) error{
		"dangling link":  func(path string) error { return os.Symlink("/nowhere/at/all", path) },
		"link to a file": func(path string) error { return os.Symlink("/etc/hostname", path) },
		"file":           func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, test := range []struct {
				name string
				open func() error
			}{
				{"blobs", func() error { _, err := disk.Open(dir); return err }},
				{"fills", func() error { return disk.MakeDir(filepath.Join(dir, "fills")) }},
				{"cache", func() error { _, err := disk.Lock(filepath.Join(dir, "cache")); return err }},
			} {
				path := filepath.Join(dir, test.name)
				check(t, lay(path))
				before, err := os.Lstat(path)
				check(t, err)
				if err := test.open(); !errors.Is(err, disk.ErrNotDirectory) {
					t.Errorf("%s: %v", test.name, err)
				}
				if after, err := os.Lstat(path); err != nil || after.Mode() != before.Mode() {
					t.Errorf("%s is no longer there: %v, %v", test.name, after, err)
				}
			}
		})
	}
}

// The same holds for something that is put there while the Store is in use.
func TestNotADirectoryLater(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	root := filepath.Join(dir, "blobs")
	check(t, errors.Join(os.RemoveAll(root), os.WriteFile(root, []byte("mine"), 0o600)))
	if err := store.Put(t.Context(), digest.FromString(""), temp(t, dir)); !errors.Is(err, disk.ErrNotDirectory) {
		t.Errorf("put: %v", err)
	}
	if raw, err := os.ReadFile(root); err != nil || string(raw) != "mine" {
		t.Errorf("the file holds %q, %v", raw, err)
	}
}

// A link below the blob directory is refused: it would not be walked.
func TestLinkedAlgorithm(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	open(t, dir)
	link := filepath.Join(dir, "blobs", "sha256")
	check(t, os.Symlink(elsewhere, link))
	if _, err := disk.Open(dir); !errors.Is(err, disk.ErrNotDirectory) {
		t.Errorf("open: %v", err)
	}
	if _, err := os.Readlink(link); err != nil {
		t.Error(err)
	}
}

// Files cannot be renamed across file systems, nor across mounts of one.
func TestCheckRename(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	near := filepath.Join(dir, "fills")
	check(t, os.Mkdir(near, 0o750))
	for _, where := range []string{near, filepath.Join(dir, "absent")} {
		if err := store.CheckRename(where); err != nil {
			t.Error(err)
		}
	}
	if err := store.CheckRename(smalldisk.Mount(t, "", "size=1m")); !errors.Is(err, disk.ErrFileSystem) {
		t.Errorf("another file system: %v", err)
	}
	smalldisk.Bind(t, near, near)
	if err := store.CheckRename(near); !errors.Is(err, disk.ErrFileSystem) {
		t.Errorf("another mount: %v", err)
	}
}

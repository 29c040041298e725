package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotDirectory is what MakeDir's and Open's errors wrap when something
	// else is where a directory belongs: a person has put it there, or the disk
	// that a link leads to is not mounted. It is never removed.
	ErrNotDirectory = errors.New("is not a directory, nor a link to one that exists")
	// ErrApart is what CheckRename's error wraps when the two are not on one
	// file system.
	ErrApart = errors.New("is on another file system than")
)

// MakeDir makes dir and those above it, where they are absent. A link to a
// directory is followed. It fails with ErrNotDirectory when something else has
// its place.
func MakeDir(dir string) error {
	err := os.MkdirAll(dir, dirMode)
	if err == nil {
		return nil
	}
	if info, failed := os.Lstat(dir); failed == nil && !info.IsDir() {
		return fmt.Errorf("%s %w: mount the disk that it leads to, or move it away", dir, ErrNotDirectory)
	}
	return err
}

// checkLinks refuses links in the place of directories below the blob directory:
// a walk does not follow them, so what they lead to would count as lost.
func checkLinks(root string) error {
	entries, _ := os.ReadDir(root) // the walk tells what cannot be read
	for _, entry := range entries {
		if entry.Type() == fs.ModeSymlink {
			return fmt.Errorf("%s is a link, and only blobs itself may be one: link that, or move this away: %w",
				filepath.Join(root, entry.Name()), ErrNotDirectory)
		}
	}
	return nil
}

// CheckRename fails with ErrApart when a file in the directory from cannot be
// renamed into this Store, as Put does. What else is wrong with the two is told
// by who uses them next.
func (s *Store) CheckRename(from string) error {
	var here, there unix.Stat_t
	if errors.Join(unix.Stat(s.root, &here), unix.Stat(from, &there)) != nil {
		return nil
	}
	// The kernel compares the mounts before it looks for the file. One mount may
	// have several devices, such as the subvolumes of btrfs.
	err := os.Rename(filepath.Join(from, "absent"), filepath.Join(s.root, "absent"))
	if here.Dev == there.Dev && !errors.Is(err, unix.EXDEV) {
		return nil
	}
	return fmt.Errorf("%s %w %s, where its files are moved to when they are complete: put both on one, a link for each will do", from, ErrApart, s.root)
}

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
	// ErrNotDirectory says that there is something else in the place of a directory:
	// somebody has put it there, or a link leads to a disk that is not mounted. It is
	// never removed.
	ErrNotDirectory = errors.New("is not a directory, nor a link to one that exists")
	// ErrFileSystem says that two directories are not on one file system.
	ErrFileSystem = errors.New("is on another file system than")
)

// MakeDir creates dir and its parents if they are absent. It follows links to
// directories. It fails with ErrNotDirectory when something else is in its place.
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

// checkLinks refuses links to directories below the blob directory: a walk does not
// follow them, so the blobs behind them would count as lost.
func checkLinks(root string) error {
	entries, _ := os.ReadDir(root) // the walk reports directories that cannot be read
	for _, entry := range entries {
		if entry.Type() == fs.ModeSymlink {
			return fmt.Errorf("%s is a link, and only blobs itself may be one: link that, or move this away: %w",
				filepath.Join(root, entry.Name()), ErrNotDirectory)
		}
	}
	return nil
}

// CheckRename fails with ErrFileSystem when files in the directory from cannot be
// renamed into the Store, as Put does. It ignores other errors, which the next user
// of the directories will meet.
func (s *Store) CheckRename(from string) error {
	var here, there unix.Stat_t
	if errors.Join(unix.Stat(s.root, &here), unix.Stat(from, &there)) != nil {
		return nil
	}
	// The kernel compares the mounts before it looks for the file. One mount may have
	// several devices, for example subvolumes of btrfs.
	err := os.Rename(filepath.Join(from, "absent"), filepath.Join(s.root, "absent"))
	if here.Dev == there.Dev && !errors.Is(err, unix.EXDEV) {
		return nil
	}
	return fmt.Errorf("%s %w %s, where its files are moved to when they are complete: put both on one file system; either may be a link", from, ErrFileSystem, s.root)
}

package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// minFree is how many bytes of the file system must be free for badger to be
// let write. It writes through memory maps of sparse files: on a full disk that
// is no error but SIGBUS, which ends the process, and again at each start.
const minFree = 64 << 20

// errDisk marks what keeps the database from being written and may pass.
var errDisk = errors.New("the index cannot be written")

// ErrFull says that the disk is too full for the database.
var ErrFull = fmt.Errorf("%w: the disk is too full for it", errDisk)

// isPassing reports whether err says nothing of the database, but of who opens it
// or of the process.
func isPassing(err error) bool {
	for _, cause := range []error{fs.ErrPermission, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// checkDisk fails with ErrFull when dir's file system has less than minFree, and
// with another errDisk when nothing can be written there. That is tried: a kernel
// that has met an error stops writing, and tells nobody who only asks.
func checkDisk(dir string) error {
	probe, err := os.CreateTemp(dir, "probe-*")
	if err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("%w: measure the disk: %w", errDisk, err)
	}
	if free := int64(stat.Bavail) * stat.Bsize; free < minFree {
		return fmt.Errorf("%w: %d MiB free, %d needed", ErrFull, free>>20, minFree>>20)
	}
	return nil
}

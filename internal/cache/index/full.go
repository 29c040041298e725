package index

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// minFree is how many bytes of the file system must be free for badger to be
// let write. It writes through memory maps of sparse files: on a full disk that
// is no error but SIGBUS, which ends the process, and again at each start.
const minFree = 64 << 20

// ErrFull says that the disk is too full for the database.
var ErrFull = errors.New("the disk is too full for the index")

// checkFree fails with ErrFull when dir's file system has less than minFree.
func checkFree(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("measure the disk: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < minFree {
		return fmt.Errorf("%w: %d MiB free, %d needed", ErrFull, free>>20, minFree>>20)
	}
	return nil
}

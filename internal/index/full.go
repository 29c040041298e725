package index

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// minFree is how many bytes must be allocatable for badger to be let write. It writes through memory maps of sparse files: on a full disk that
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

// checkDisk fails with ErrFull when dir cannot take minFree bytes more, and with
// another errDisk when nothing can be written there. Both are tried: a quota does
// not show in the free space, and a kernel that has met an error stops writing and
// tells nobody who only asks. take is allocate or fill.
func checkDisk(dir string, take func(*os.File) error) error {
	err := probe(dir, take)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w, which needs %d MiB: %w", ErrFull, minFree>>20, err)
	case err != nil:
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	return nil
}

func probe(dir string, take func(*os.File) error) error {
	f, err := os.CreateTemp(dir, probePrefix+"*")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := os.Remove(f.Name()); err != nil { // now, so that a kill leaves nothing large
		return err
	}
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &stat); err != nil {
		return err
	}
	if int64(stat.Bavail)*stat.Bsize < minFree {
		return unix.ENOSPC
	}
	return take(f)
}

// allocate takes 0.2 ms on ext4. A file system that cannot do it, as ext3, is
// believed about its free space; a write may come each second.
func allocate(f *os.File) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, minFree)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// fill writes to a file system that cannot allocate. It is for the start: what
// does not fit would end the process each time.
func fill(f *os.File) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, minFree)
	if errors.Is(err, errors.ErrUnsupported) {
		_, err = io.CopyN(f, zeros{}, minFree)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

const probePrefix = "probe-"

// removeProbes removes what kills have left of checkDisk.
func removeProbes(dir string) {
	probes, _ := filepath.Glob(filepath.Join(dir, probePrefix+"*")) // the pattern is right
	for _, probe := range probes {
		_ = os.Remove(probe)
	}
}

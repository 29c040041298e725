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

// minFree is how many bytes must be available before badger may write. It writes
// through memory maps of sparse files: on a full disk that does not fail with an
// error but with SIGBUS, which ends the process, and again at each start.
const minFree = 64 << 20

// errDisk marks failures of the disk, which may recover, as opposed to damage.
var errDisk = errors.New("the index cannot be written")

// ErrFull says that the disk is too full for the database.
var ErrFull = fmt.Errorf("%w: the disk is too full for it", errDisk)

// isTransient reports whether err is not about the database but about permissions,
// the disk or the limits of the process.
func isTransient(err error) bool {
	for _, cause := range []error{fs.ErrPermission, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// checkDisk fails with ErrFull when minFree bytes are not available in dir, and with
// another errDisk when nothing can be written there. It tries both with a file:
// free space does not show a quota, and after an error the kernel may have stopped
// writing to a file system that still reports free space. take is allocate or fill.
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
	if err := os.Remove(f.Name()); err != nil { // before it grows, so that a kill leaves nothing large
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

// allocate takes minFree bytes for f: 0.2 ms on ext4. On a file system that cannot
// allocate, such as ext3, it trusts the free space: there may be a write every
// second.
func allocate(f *os.File) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, minFree)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// fill is allocate, but writes minFree bytes on a file system that cannot allocate.
// It is for start-up, where too little space would end the process every time.
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

// removeProbes removes files that killed processes left in checkDisk.
func removeProbes(dir string) {
	probes, _ := filepath.Glob(filepath.Join(dir, probePrefix+"*")) // the pattern is valid
	for _, probe := range probes {
		_ = os.Remove(probe)
	}
}

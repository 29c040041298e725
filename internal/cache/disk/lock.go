package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another process has locked the directory.
var ErrInUse = errors.New("is used by another mirrord")

// Lock locks dir, which it creates if absent, for this process until unlock is called
// or the process ends, for whatever reason. It fails with ErrInUse, without waiting,
// when another process has locked it. The file dir/lock holds the owner's process id.
// It is never removed: two owners could then lock two files of that name.
func Lock(dir string) (unlock func() error, err error) {
	if err := MakeDir(dir); err != nil {
		return nil, fmt.Errorf("lock cache directory: %w", err)
	}
	f, err := openLock(dir)
	if err != nil {
		return nil, fmt.Errorf("lock cache directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = inUse(dir, f)
	case err != nil:
		err = fmt.Errorf("lock cache directory %s: %w", dir, err)
	default:
		writePID(dir)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f.Close, nil
}

func inUse(dir string, f *os.File) error {
	var owner string
	// The file is empty between an owner's lock and its write.
	if text, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && len(text) > 0 {
		owner = fmt.Sprintf(" (pid %s)", strings.TrimSpace(string(text)))
	}
	return fmt.Errorf("cache directory %s %w%s: stop it or choose another cache.dir", dir, ErrInUse, owner)
}

// openLock opens the lock file for reading, which is enough to lock it: a file system
// with a file open for writing could not be remounted read-only. On a read-only disk
// without a lock file it opens dir itself.
func openLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDONLY|os.O_CREATE, blobMode)
	}
	if errors.Is(err, unix.EROFS) {
		return os.Open(dir)
	}
	return f, err
}

// writePID writes the process id for the error of another process. A failure does
// not matter here.
func writePID(dir string) {
	_ = os.WriteFile(filepath.Join(dir, "lock"), []byte(strconv.Itoa(os.Getpid())+"\n"), blobMode)
}

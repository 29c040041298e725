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

// ErrInUse is what Lock's error wraps when another daemon has the directory.
var ErrInUse = errors.New("is used by another mirrord")

// Lock takes dir, created when absent, for this process alone until unlock or
// the process's end, however it ends. It fails with ErrInUse, at once, when
// another has it. The file dir/lock holds the owner's process id and stays:
// removing it would let two owners lock two files of one name.
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
	// Empty for the moment between an owner's lock and its writing.
	if text, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && len(text) > 0 {
		owner = fmt.Sprintf(" (pid %s)", strings.TrimSpace(string(text)))
	}
	return fmt.Errorf("cache directory %s %w%s: stop it or choose another cache.dir", dir, ErrInUse, owner)
}

// openLock opens the lock file for reading, which is enough to lock it: a file
// that is open for writing would keep the file system from being made read-only.
// On a read-only disk that has none it is dir itself.
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

// writePID is for a person; a disk that does not take it does not matter yet.
func writePID(dir string) {
	_ = os.WriteFile(filepath.Join(dir, "lock"), []byte(strconv.Itoa(os.Getpid())+"\n"), blobMode)
}

package disk

import (
	"errors"
	"fmt"
	"io"
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
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("lock cache directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, blobMode)
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
		err = writePID(f)
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

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

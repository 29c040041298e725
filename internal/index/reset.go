package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const damagedSuffix = ".damaged-" // and the time, in Unix seconds

// OpenOrReset is Open, but replaces a damaged database with a new one. It renames
// the damaged one to <dir>.damaged-<unix seconds> for inspection and removes older
// such directories. When a new database cannot be opened either, the old one is not
// at fault: it is put back.
func OpenOrReset(dir string, o Options) (*Index, error) {
	return newIndex(filepath.Clean(dir), o, openOrReset)
}

func openOrReset(dir string, o Options) (*database, error) {
	db, err := openDatabase(dir, o)
	if err == nil || !errors.Is(err, ErrDamaged) {
		return db, err
	}
	quarantine := dir + damagedSuffix + strconv.FormatInt(time.Now().Unix(), 10)
	if failure := errors.Join(os.RemoveAll(quarantine), os.Rename(dir, quarantine)); failure != nil {
		return nil, fmt.Errorf("move damaged index to %s: %w (%w)", quarantine, failure, err)
	}
	db, failure := openDatabase(dir, o)
	if failure != nil {
		return nil, errors.Join(err, failure, os.RemoveAll(dir), os.Rename(quarantine, dir))
	}
	if failure := removeOlder(dir, quarantine); failure != nil && o.Warn != nil {
		o.Warn(fmt.Sprintf("remove older damaged indexes: %v", failure))
	}
	if o.Damaged != nil {
		o.Damaged(err)
	}
	return db, nil
}

// removeOlder removes the damaged databases of dir but the newest.
func removeOlder(dir, newest string) error {
	parent := filepath.Dir(dir)
	entries, err := os.ReadDir(parent)
	for _, entry := range entries {
		path := filepath.Join(parent, entry.Name())
		if strings.HasPrefix(path, dir+damagedSuffix) && path != newest {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// lock locks dir the way badger does, so that badger's own tools respect it, but
// fails with an error that can be distinguished from damage.
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

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

const asideMark = ".damaged-"

// OpenOrReset is Open, but puts a new database in the place of a damaged one,
// which is renamed to <dir>.damaged-<unix seconds> for a person to look at; an
// older such directory is removed. When not even a new one can be opened the
// fault is not the old one's: it is put back.
func OpenOrReset(dir string, o Options) (*Index, error) {
	return newIndex(filepath.Clean(dir), o, openOrReset)
}

func openOrReset(dir string, o Options) (*database, error) {
	db, err := openDatabase(dir, o)
	if err == nil || !errors.Is(err, ErrDamaged) {
		return db, err
	}
	aside := dir + asideMark + strconv.FormatInt(time.Now().Unix(), 10)
	if failure := errors.Join(os.RemoveAll(aside), os.Rename(dir, aside)); failure != nil {
		return nil, fmt.Errorf("set damaged index aside: %w (%w)", failure, err)
	}
	db, failure := openDatabase(dir, o)
	if failure != nil {
		return nil, errors.Join(err, failure, os.RemoveAll(dir), os.Rename(aside, dir))
	}
	if failure := removeOlder(dir, aside); failure != nil && o.Warn != nil {
		o.Warn(fmt.Sprintf("remove older damaged indexes: %v", failure))
	}
	if o.Damaged != nil {
		o.Damaged(err)
	}
	return db, nil
}

// removeOlder removes what was set aside for dir before.
func removeOlder(dir, newest string) error {
	parent := filepath.Dir(dir)
	entries, err := os.ReadDir(parent)
	for _, entry := range entries {
		path := filepath.Join(parent, entry.Name())
		if strings.HasPrefix(path, dir+asideMark) && path != newest {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// lock takes dir as badger itself would, so that badger's own tools see it, but
// with an error that can be told from damage.
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

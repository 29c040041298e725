package index

import (
	"errors"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// openCopy opens a copy of the database in dir, in the directory for temporary
// files, where it is removed when it is closed. Badger itself opens a database on
// a disk that it cannot write only when it was closed properly there, and a kill
// or a disk that fails does not do that.
func openCopy(dir string, o Options) (*database, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	temporary, err := os.MkdirTemp("", "mirrord-index-")
	if err != nil {
		return nil, err
	}
	remove := func() error { return os.RemoveAll(temporary) }
	if err := os.CopyFS(temporary, os.DirFS(dir)); err != nil {
		return nil, errors.Join(err, remove())
	}
	db, err := openDatabase(temporary, o)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	unlock := db.unlock
	db.unlock = func() error { return errors.Join(unlock(), remove()) }
	return db, nil
}

// scanCopy is scan on a copy. It is for the start, which reads each prefix once:
// a copy may have some ten MiB.
func (ix *Index) scanCopy(prefix string, each func(*badger.Item) bool) error {
	db, err := ix.copy()
	if err != nil {
		return err
	}
	return errors.Join(scan(db.DB, prefix, each), db.Close(), db.unlock())
}

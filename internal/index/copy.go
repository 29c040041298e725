package index

import (
	"errors"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// openCopy copies the database in dir to a temporary directory and opens it there;
// closing it removes the copy. Badger opens a database on a read-only disk only if
// it was closed properly, which it was not after a kill or a disk failure.
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

// scanCopy is scan on a copy. It is for start-up, which reads each prefix once: a
// copy may take tens of MiB.
func (ix *Index) scanCopy(prefix string, each func(*badger.Item) bool) error {
	db, err := ix.copy()
	if err != nil {
		return err
	}
	return errors.Join(scan(db.DB, prefix, each), db.Close(), db.unlock())
}

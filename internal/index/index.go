// Package index stores in a badger database what is cached, when it was used, what
// tags named, and quotas. It is read once, at start-up, and written in the
// background. All but tags, recency and quotas can be rebuilt from the blobs.
package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"mirrord/internal/cache"
	"mirrord/internal/tags"
)

var (
	_ cache.Index = (*Index)(nil)
	_ tags.Index  = (*Index)(nil)
)

var (
	// ErrDamaged says that the database, or one of its records, cannot be read.
	ErrDamaged = errors.New("index is damaged")
	// ErrVersion says that a newer mirrord wrote the database.
	ErrVersion = errors.New("index was written by a newer mirrord")
	// ErrInUse says that another process, or this one, has the database open.
	ErrInUse = errors.New("index is in use")
)

const (
	schemaKey     = "schema"
	schemaVersion = 1
)

// Options of an Index. The zero value works.
type Options struct {
	// Warn, when not nil, is called with badger's own errors and warnings, at any
	// time until Close returns and from several goroutines.
	Warn func(message string)
	// Damaged, when not nil, is called with the reason when OpenOrReset has replaced
	// a damaged database.
	Damaged func(err error)
}

// Index is a cache.Index and a tags.Index. What it wrote survives a kill of the
// process, because the kernel has the mapped log; a power failure may lose the last
// writes. Methods may be called concurrently, but Close only after all others have
// returned.
//
// While the disk cannot be written at start-up, the database is not open: every
// method tries to open it again and fails with the reason. Before they fail, those
// that read yield the records of a copy.
type Index struct {
	open func() (*database, error)
	copy func() (*database, error)

	mu     sync.Mutex // guards all below; held while the database is opened
	db     *database  // nil: not open
	closed error      // what methods fail with after Close
}

// database is an open badger database in a locked directory.
type database struct {
	*badger.DB
	unlock func() error
}

// Open opens the database in dir and creates it if it does not exist. It fails
// with ErrInUse, with ErrVersion, or with ErrDamaged when badger cannot open the
// database. It does not fail on a disk that is full or cannot be written. Badger's
// goroutines run until Close.
func Open(dir string, o Options) (*Index, error) {
	return newIndex(dir, o, openDatabase)
}

func newIndex(dir string, o Options, open func(string, Options) (*database, error)) (*Index, error) {
	ix := &Index{
		open: func() (*database, error) { return open(dir, o) },
		copy: func() (*database, error) { return openCopy(dir, o) },
	}
	if _, err := ix.database(); err != nil && !errors.Is(err, errDisk) {
		return nil, err
	}
	return ix, nil
}

// database returns the database, and opens it if that failed before.
func (ix *Index) database() (*badger.DB, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.closed != nil {
		return nil, ix.closed
	}
	if ix.db == nil {
		db, err := ix.open()
		if err != nil {
			return nil, err
		}
		ix.db = db
	}
	return ix.db.DB, nil
}

// Close writes what is in memory and unlocks the directory. Further calls do
// nothing.
func (ix *Index) Close() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	db := ix.db
	ix.db, ix.closed = nil, badger.ErrDBClosed
	if db == nil {
		return nil
	}
	return errors.Join(closeBadger(db.DB), db.unlock())
}

func openDatabase(dir string, o Options) (*database, error) {
	err := os.MkdirAll(dir, 0o750)
	if errors.Is(err, unix.ENOTDIR) { // there is a file in its place
		return nil, fmt.Errorf("open index: %w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDisk, err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	db, err := openLocked(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, errors.Join(err, unlock()))
	}
	return &database{db, unlock}, nil
}

// closeTimeout is how long a database may take to close.
const closeTimeout = 10 * time.Second

// closeBadger does not close a database on a disk that is full or failing: closing
// writes, again and again until that succeeds. As after a kill, the log has
// everything that was put.
func closeBadger(db *badger.DB) error {
	if err := checkDisk(db.Opts().Dir, allocate); err != nil {
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTimeout):
		return fmt.Errorf("index did not close within %s; the next start reads its last writes from its log", closeTimeout)
	}
}

func openLocked(dir string, o Options) (*badger.DB, error) {
	warn := o.Warn
	if warn == nil {
		warn = func(string) {}
	}
	tuned := tune(dir, warn)
	removeProbes(dir)
	if err := checkDisk(dir, fill); err != nil {
		return nil, err
	}
	if err := verify(tuned); err != nil {
		return nil, err
	}
	if err := removeEmptyLogs(dir); err != nil {
		return nil, err
	}
	db, err := openBadger(tuned)
	if isTransient(err) {
		return nil, fmt.Errorf("%w: %w", errDisk, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := checkSchema(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkSchema refuses a newer schema, and writes the current version to a new
// database.
func checkSchema(db *badger.DB) error {
	return db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(schemaKey))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return txn.Set([]byte(schemaKey), binary.AppendUvarint(nil, schemaVersion))
		}
		if err != nil {
			return err
		}
		return item.Value(func(value []byte) error {
			version, n := binary.Uvarint(value)
			switch {
			case n <= 0 || version == 0:
				return fmt.Errorf("%w: its schema version is unreadable", ErrDamaged)
			case version > schemaVersion:
				return fmt.Errorf("%w: it has schema %d, and this mirrord supports %d: upgrade, or remove the directory",
					ErrVersion, version, schemaVersion)
			}
			return nil
		})
	})
}

func (ix *Index) write(fill func(*badger.WriteBatch) error) error {
	db, err := ix.database()
	if err != nil {
		return err
	}
	if err := checkDisk(db.Opts().Dir, allocate); err != nil {
		return err
	}
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	if err := fill(batch); err != nil {
		return err
	}
	return batch.Flush()
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

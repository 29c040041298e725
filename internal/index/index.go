// Package index stores in a badger database what is cached, when it was used, what
// tags named, and quotas. It is read once, at start-up, and written in the
// background. All but tags, recency and quotas can be rebuilt from the blobs.
package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
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

// Blobs yields the blob records. For one that cannot be decoded it yields an error
// that wraps ErrDamaged and names the record, and continues; any other error ends
// the sequence.
func (ix *Index) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return records(ix, blobPrefix, decodeBlob)
}

// Tags yields the tag records, and errors as Blobs does.
func (ix *Index) Tags() iter.Seq2[tags.Record, error] {
	return records(ix, tagPrefix, decodeTag)
}

// PutBlobs writes new records and replaces old ones. A very large batch is written
// in several transactions, some of which may have been committed when it fails.
func (ix *Index) PutBlobs(records ...cache.BlobRecord) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, r := range records {
			if err := batch.Set(blobKey(r.Digest), encodeBlob(r)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("put blob records", err)
}

// RemoveBlobs removes the records of ds, of which some may be absent.
func (ix *Index) RemoveBlobs(ds ...oci.Digest) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, d := range ds {
			if err := batch.Delete(blobKey(d)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("remove blob records", err)
}

// PutTag writes t, or replaces an old record. It fails when t.Ref is not a tag.
func (ix *Index) PutTag(t tags.Record) error {
	if t.Ref.Tag() == "" {
		return fmt.Errorf("put tag record: %s is not a tag", t.Ref)
	}
	err := ix.write(func(batch *badger.WriteBatch) error {
		return batch.Set(tagKey(t.Ref), encodeTag(t))
	})
	return wrap("put tag record", err)
}

// RemoveTags removes the records of refs, of which some may be absent.
func (ix *Index) RemoveTags(refs ...oci.Ref) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, ref := range refs {
			if err := batch.Delete(tagKey(ref)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("remove tag records", err)
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

// records yields the decoded values of all keys with the prefix.
func records[R any](ix *Index, prefix string, decode func(key string, value []byte) (R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		more := true
		each := func(item *badger.Item) bool {
			more = yield(read(item, decode))
			return more
		}
		db, err := ix.database()
		switch {
		case err == nil:
			err = scan(db, prefix, each)
		case errors.Is(err, errDisk):
			if failed := ix.scanCopy(prefix, each); failed != nil {
				err = fmt.Errorf("%w; a copy cannot be read either: %w", err, failed)
			}
		}
		if err != nil && more {
			yield(none, fmt.Errorf("read index: %w", err))
		}
	}
}

// scan calls each with the items that have the prefix, until it returns false.
func scan(db *badger.DB, prefix string, each func(*badger.Item) bool) error {
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(prefix)
		o.PrefetchValues = false // values are stored next to their keys; prefetching starts a goroutine for each
		cursor := txn.NewIterator(o)
		defer cursor.Close()
		for cursor.Rewind(); cursor.Valid() && each(cursor.Item()); cursor.Next() {
		}
		return nil
	})
}

func read[R any](item *badger.Item, decode func(key string, value []byte) (R, error)) (r R, err error) {
	key := string(item.Key())
	err = item.Value(func(value []byte) error {
		r, err = decode(key, value)
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w: record %q: %w", ErrDamaged, strings.ToValidUTF8(key, "?"), err)
	}
	return r, err
}

// Package index remembers in a badger database what is cached and when it was
// used. It is read once at the start and written behind the cache's back; the
// blobs themselves can always rebuild it, but for tags and recency.
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

var _ cache.Index = (*Index)(nil)

var (
	// ErrDamaged says that the database, or one record of it, cannot be read.
	ErrDamaged = errors.New("index is damaged")
	// ErrVersion says that a newer mirrord has written the database.
	ErrVersion = errors.New("index was written by a newer mirrord")
	// ErrInUse says that another process, or this one, has the database open.
	ErrInUse = errors.New("index is in use")
)

const (
	schemaKey     = "schema"
	schemaVersion = 1
)

// Options may be zero.
type Options struct {
	// Warn, when not nil, gets badger's own errors and warnings; it may be
	// called at any time until Close returns and from several goroutines.
	Warn func(message string)
	// Damaged, when not nil, is told why a database was set aside by OpenOrReset.
	Damaged func(err error)
}

// Index is a cache.Index. What it wrote survives a kill of the process, for the
// kernel holds the mapped log; a power failure may take the last writes.
// Methods may be called concurrently; Close after all others have returned.
//
// While the disk cannot be written at the start, there is no database: methods
// fail with why, and each tries again, until one can open it. Those that read
// yield what a copy of it has before they fail.
type Index struct {
	open func() (*database, error)
	copy func() (*database, error)

	mu  sync.Mutex // guards all below; held while the database is opened
	db  *database  // nil: not opened yet
	end error      // why there is none any more
}

// database is a badger that is open, in a directory that is locked.
type database struct {
	*badger.DB
	unlock func() error
}

// Open opens the database in dir and creates it when it is absent. It fails
// with ErrInUse, with ErrVersion, or with ErrDamaged when badger cannot open
// what is there. A disk that is full or cannot be written is no failure of
// Open. Badger's goroutines are the Index's until Close.
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

// database returns the database, which it opens when that could not be done
// before.
func (ix *Index) database() (*badger.DB, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.end != nil {
		return nil, ix.end
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

// Close writes what memory holds and gives up the directory. Only the first
// call does anything.
func (ix *Index) Close() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	db := ix.db
	ix.db, ix.end = nil, badger.ErrDBClosed
	if db == nil {
		return nil
	}
	return errors.Join(closeBadger(db.DB), db.unlock())
}

func openDatabase(dir string, o Options) (*database, error) {
	err := os.MkdirAll(dir, 0o750)
	if errors.Is(err, unix.ENOTDIR) { // somebody has put a file there
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

// closeTime is how long a database may take to close.
const closeTime = 10 * time.Second

// closeBadger leaves a database on a disk that is full or fails as a kill would:
// closing it writes, again and again until that succeeds, and its log has all
// that was put.
func closeBadger(db *badger.DB) error {
	if err := checkDisk(db.Opts().Dir, allocate); err != nil {
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTime):
		return fmt.Errorf("index does not close within %s; what it was told last is read from its log by the next start", closeTime)
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
	if err := sweep(dir); err != nil {
		return nil, err
	}
	db, err := openBadger(tuned)
	if isPassing(err) {
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

// checkSchema refuses a newer schema and marks a new database with this one.
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
				return fmt.Errorf("%w: schema %d, this one knows %d: upgrade, or remove the directory",
					ErrVersion, version, schemaVersion)
			}
			return nil
		})
	})
}

// Blobs yields the blob records. One that cannot be decoded is told as an error
// that wraps ErrDamaged and names it, and the sequence goes on; any other error
// is the last.
func (ix *Index) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return records(ix, blobPrefix, decodeBlob)
}

// Tags yields the tag records, with errors as Blobs has them.
func (ix *Index) Tags() iter.Seq2[tags.Record, error] {
	return records(ix, tagPrefix, decodeTag)
}

// PutBlobs writes new records and replaces old ones. A very large batch is
// written in several steps, and an error may leave some of them done.
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

// RemoveBlobs forgets the blobs ds. Absent ones are no error.
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

// PutTag writes t or replaces it. It fails when t.Ref names no tag.
func (ix *Index) PutTag(t tags.Record) error {
	if t.Ref.Tag() == "" {
		return fmt.Errorf("put tag record: %s is not a tag", t.Ref)
	}
	err := ix.write(func(batch *badger.WriteBatch) error {
		return batch.Set(tagKey(t.Ref), encodeTag(t))
	})
	return wrap("put tag record", err)
}

// RemoveTags forgets the tags refs. Absent ones are no error.
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

// records yields what decode makes of every key with the prefix.
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
				err = fmt.Errorf("%w; nor can a copy be read: %w", err, failed)
			}
		}
		if err != nil && more {
			yield(none, fmt.Errorf("read index: %w", err))
		}
	}
}

// scan calls each with the items of that prefix until it returns false.
func scan(db *badger.DB, prefix string, each func(*badger.Item) bool) error {
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(prefix)
		o.PrefetchValues = false // values lie beside their keys; prefetching starts a goroutine for each
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

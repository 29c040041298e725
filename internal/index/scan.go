package index

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

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

package index

import (
	"errors"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// History returns the values that PutHistory wrote last, by name. Those that are damaged
// are skipped. When it fails it returns those that could be read.
func (ix *Index) History() (map[string][]byte, error) {
	values := make(map[string][]byte)
	decode := func(key string, value []byte) (struct{}, error) {
		values[strings.TrimPrefix(key, historyPrefix)] = append([]byte(nil), value...)
		return struct{}{}, nil
	}
	var failed error
	for _, err := range records(ix, historyPrefix, decode) {
		failed = errors.Join(failed, err)
	}
	return values, wrap("read history", failed)
}

// PutHistory writes new values and replaces old ones. The values are opaque.
func (ix *Index) PutHistory(values map[string][]byte) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for name, value := range values {
			if err := batch.Set([]byte(historyPrefix+name), value); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("put history", err)
}

package index

import (
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// Quotas returns the values that PutQuotas wrote last, by name. When it fails it
// returns those that could be read.
func (ix *Index) Quotas() (map[string][]byte, error) {
	quotas := make(map[string][]byte)
	decode := func(key string, value []byte) (struct{}, error) {
		quotas[strings.TrimPrefix(key, quotaPrefix)] = append([]byte(nil), value...)
		return struct{}{}, nil
	}
	for _, err := range records(ix, quotaPrefix, decode) {
		if err != nil {
			return quotas, fmt.Errorf("read quotas: %w", err)
		}
	}
	return quotas, nil
}

// PutQuotas writes new values and replaces old ones. The values are opaque.
func (ix *Index) PutQuotas(quotas map[string][]byte) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for name, value := range quotas {
			if err := batch.Set([]byte(quotaPrefix+name), value); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("put quotas", err)
}

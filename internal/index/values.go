package index

import (
	"errors"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// Values are opaque to the index, and each kind has a prefix. Those that read return the
// values that were written last, by name; when they fail, those that could be read. Those
// that write replace the previous value of a name.

// Quotas returns what PutQuotas wrote.
func (ix *Index) Quotas() (map[string][]byte, error) { return ix.values("read quotas", quotaPrefix) }

// PutQuotas writes what is known of the quotas of upstreams.
func (ix *Index) PutQuotas(quotas map[string][]byte) error {
	return ix.putValues("put quotas", quotaPrefix, quotas)
}

// QuotaEvents returns what PutQuotaEvents wrote.
func (ix *Index) QuotaEvents() (map[string][]byte, error) {
	return ix.values("read events", quotaEventPrefix)
}

// PutQuotaEvents writes which events about quotas were sent.
func (ix *Index) PutQuotaEvents(events map[string][]byte) error {
	return ix.putValues("put events", quotaEventPrefix, events)
}

// History returns what PutHistory wrote.
func (ix *Index) History() (map[string][]byte, error) {
	return ix.values("read history", historyPrefix)
}

// PutHistory writes the history of the status.
func (ix *Index) PutHistory(values map[string][]byte) error {
	return ix.putValues("put history", historyPrefix, values)
}

// values skips values that are damaged, and fails with what is wrong with them.
func (ix *Index) values(what, prefix string) (map[string][]byte, error) {
	values := make(map[string][]byte)
	decode := func(key string, value []byte) (struct{}, error) {
		values[strings.TrimPrefix(key, prefix)] = append([]byte(nil), value...)
		return struct{}{}, nil
	}
	var failed error
	for _, err := range records(ix, prefix, decode) {
		failed = errors.Join(failed, err)
	}
	return values, wrap(what, failed)
}

func (ix *Index) putValues(what, prefix string, values map[string][]byte) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for name, value := range values {
			if err := batch.Set([]byte(prefix+name), value); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(what, err)
}

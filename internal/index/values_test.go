package index

import (
	"errors"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
)

// Values are what was put last under each name, and nothing of other records.
func TestValues(t *testing.T) {
	dir := t.TempDir()
	ix, err := Open(dir, Options{})
	check(t, err)
	check(t, ix.PutBlobs(blob(1)))
	check(t, ix.PutQuotas(map[string][]byte{"a": []byte("quota")}))
	check(t, ix.PutQuotaEvents(map[string][]byte{"a": []byte("event")}))
	check(t, ix.PutHistory(map[string][]byte{"m0001": []byte("old"), "d001": nil}))
	check(t, ix.PutHistory(map[string][]byte{"m0001": []byte("new")}))
	check(t, ix.Close())
	ix, err = Open(dir, Options{})
	check(t, err)
	got, err := ix.History()
	check(t, err)
	if diff := cmp.Diff(map[string][]byte{"m0001": []byte("new"), "d001": nil}, got); diff != "" {
		t.Error(diff)
	}
	for want, read := range map[string]func() (map[string][]byte, error){"quota": ix.Quotas, "event": ix.QuotaEvents} {
		got, err := read()
		check(t, err)
		if diff := cmp.Diff(map[string][]byte{"a": []byte(want)}, got); diff != "" {
			t.Error(diff)
		}
	}
	if n := len(blobs(t, ix)); n != 1 {
		t.Errorf("%d blobs", n)
	}
	closeIndex(t, ix)
	if err := ix.PutHistory(got); err == nil {
		t.Error("a closed index is written")
	}
	if _, err := ix.History(); !errors.Is(err, badger.ErrDBClosed) {
		t.Errorf("a closed index is read: %v", err)
	}
}

package tags

import (
	"testing"

	"mirrord/internal/cache/lru"
	"mirrord/internal/oci"
)

// What a list takes in memory beside its content is counted: a client that asks for the referrers of a million digests
// where there is no API for them gets a million responses without entries.
func TestListMemoryCountsAll(t *testing.T) {
	r := &Registry{lists: lru.NewBytes[*list](listMemory)}
	l, err := oci.ParseReferrers("registry.example", "team/app", oci.FromBytes(nil).String(), "")
	if err != nil {
		t.Fatal(err)
	}
	r.addList(l, &list{noAPI: oci.Errorf(oci.Unsupported, "%w", oci.ErrNoReferrers)})
	if n := r.lists.Size(); n < 600 { // 110 of the key, 230 of the list, 200 of its error, and places in a map and a list
		t.Errorf("a list without entries counts %d", n)
	}
}

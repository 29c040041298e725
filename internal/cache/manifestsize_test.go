package cache

import (
	"testing"

	"mirrord/internal/cache/lru"
	"mirrord/internal/oci"
)

// What a manifest takes in memory beside its content is counted: a million tiny
// ones are not free.
func TestManifestMemoryCountsAll(t *testing.T) {
	c := &Cache{manifests: lru.NewBytes[manifest](manifestMemory)}
	raw := []byte("{}")
	d := oci.FromBytes(raw)
	c.addManifest(d, manifest{typed{mediaType: "application/vnd.oci.image.manifest.v1+json"}, raw})
	if n := c.manifests.Size(); n < 400 { // 71 of the key, 42 of the type, 40 of headers, and places in a map and a list
		t.Errorf("a manifest of %d bytes counts %d", len(raw), n)
	}
}

// So is what a list takes: whoever asks for the referrers of a million digests
// where there is no API for them gets a million answers without entries.
func TestListMemoryCountsAll(t *testing.T) {
	c := &Cache{lists: lru.NewBytes[*list](listMemory)}
	l, err := oci.ParseReferrers("registry.example", "team/app", oci.FromBytes(nil).String(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.keepList(l, &list{noAPI: oci.Errorf(oci.Unsupported, "%w", oci.ErrNoReferrers)})
	if n := c.lists.Size(); n < 600 { // 110 of the key, 230 of the list, 200 of its error, and places in a map and a list
		t.Errorf("a list without entries counts %d", n)
	}
}

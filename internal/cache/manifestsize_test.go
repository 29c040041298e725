package cache

import (
	"testing"

	"mirrord/internal/oci"
)

// The overhead of a manifest in memory is counted: a million tiny ones are not free.
func TestManifestMemoryCountsAll(t *testing.T) {
	h := newHotManifests()
	raw := []byte("{}")
	d := oci.FromBytes(raw)
	h.add(d, manifest{typed{mediaType: "application/vnd.oci.image.manifest.v1+json"}, raw})
	if n := h.memory.Size(); n < 400 { // 71 of the key, 42 of the type, 40 of headers, and places in a map and a list
		t.Errorf("a manifest of %d bytes is counted as %d", len(raw), n)
	}
}

package archive_test

import (
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/archive"
	"mirrord/internal/oci"
)

// Indexes that name the same index over and over, at each depth, are read once each.
func TestPlanNestedIndexes(t *testing.T) {
	f := start(t)
	inner := image(t, []byte("config"), []byte("layer"))
	for _, raw := range [][]byte{[]byte("config"), []byte("layer"), inner} {
		put(t, f, raw)
	}
	for range 4 {
		m := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
		m.SchemaVersion = 2
		child := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: oci.FromBytes(inner), Size: int64(len(inner))}
		m.Manifests = slices.Repeat([]ocispec.Descriptor{child}, 1000)
		inner = encode(t, m)
		put(t, f, inner)
	}
	ref := mustParse(t, repo+":nested")
	described, _ := f.Cache.Cached(ref.At(oci.FromBytes(inner)))
	plan, err := archive.NewPlan(t.Context(), f.Cache, []archive.Image{{Ref: ref, Descriptor: described}}, archive.PlanOptions{})
	if err != nil || len(plan.Blobs) != 7 || len(plan.Missing) > 0 {
		t.Errorf("%d blobs, %d missing, %v", len(plan.Blobs), len(plan.Missing), err)
	}
}

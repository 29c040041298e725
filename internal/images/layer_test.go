package images_test

import (
	"fmt"
	"strings"
	"testing"

	"mirrord/internal/images"
	"mirrord/internal/oci"
)

// A layer that is large enough is found by the manifests that are cached, in an index too.
func TestLayer(t *testing.T) {
	small, large := oci.FromBytes([]byte("small")), oci.FromBytes([]byte("large"))
	m := newMirror()
	image := m.add(fmt.Sprintf(`{"layers":[{"digest":%q,"size":10},{"digest":%q,"size":1000}]}`, small, large))
	absent := oci.FromBytes([]byte("absent"))
	m.tag(t, "image:v1", image)
	m.tag(t, "index:v1", m.add(fmt.Sprintf(`{"manifests":[{"digest":%q,"size":1},{"digest":%q,"size":1}]}`, absent, image)))
	m.tag(t, "broken:v1", m.add("{"))
	m.tag(t, "absent:v1", absent)
	all := images.New(images.Options{Tags: m, Cache: m})
	for name, want := range map[string]oci.Digest{"image:v1": large, "index:v1": large, "broken:v1": "", "absent:v1": "", "unknown:v1": ""} {
		ref, err := images.Parse(name, table)
		if err != nil {
			t.Fatal(err)
		}
		repository, _, _ := strings.Cut(name, ":")
		got, ok := all.Layer(t.Context(), ref, 1000)
		if got.Digest() != want || ok != (want != "") || ok && got.Repository() != "library/"+repository {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
		if _, ok := all.Layer(t.Context(), ref, 1001); ok {
			t.Errorf("%s: a layer that is too small", name)
		}
	}
}

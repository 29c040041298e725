package route_test

import (
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/route"
)

func TestRouter(t *testing.T) {
	t.Parallel()
	fake := new(ocitest.Fake)
	router := route.Router{"known": fake}
	for _, name := range []string{"known", "unknown"} {
		ref, err := oci.ParseManifest(name, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		q, err := oci.ParseTags(name, "a", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err1 := router.Resolve(t.Context(), ref)
		_, err2 := router.Open(t.Context(), ref)
		_, err3 := router.List(t.Context(), q)
		for _, err := range []error{err1, err2, err3} {
			if oci.CodeOf(err) != oci.NameUnknown {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if fake.Calls("Resolve", "b") != 1 || fake.Calls("Open", "b") != 1 || fake.Calls("List", "a") != 1 {
		t.Error("the known upstream was not asked once for each")
	}
}

package tags_test

import (
	"slices"
	"testing"

	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A repository is known by its tags, once however many there are.
func TestRepositories(t *testing.T) {
	fake := new(ocitest.Fake)
	cachetest.Put(fake, "v1", 1)
	cachetest.Put(fake, "v2", 2)
	f := start(t, fake)
	for _, tag := range []string{"v1", "v2", "missing"} {
		_, _, _ = ocitest.Read(t.Context(), f, ocitest.ManifestRef(t, tag))
	}
	want := []string{ocitest.ManifestRef(t, "v1").Repository()}
	if got := f.Repositories(); len(got) != 1 || !slices.Equal(got[ocitest.Upstream], want) {
		t.Errorf("%v, want %v of %s", got, want, ocitest.Upstream)
	}
}

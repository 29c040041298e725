package cache_test

import (
	"path/filepath"
	"testing"

	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A cache keeps the contract without tags above it: it passes requests by tag on.
func TestContract(t *testing.T) {
	ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
		ix, err := index.Open(filepath.Join(t.TempDir(), "index"), index.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ix.Close(); err != nil {
				t.Error(err)
			}
		})
		return start(t, fake, cachetest.WithIndex(ix)).Cache
	})
}

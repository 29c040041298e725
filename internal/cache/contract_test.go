package cache_test

import (
	"path/filepath"
	"testing"

	"mirrord/internal/cache"
	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

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
		return start(t, fake, func(o *cache.Options) { o.Index = ix })
	})
}

// Without a fresh window each tag request asks upstream: the contract holds for
// that too.
func TestContractNeverFresh(t *testing.T) {
	ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
		return start(t, fake, func(o *cache.Options) { o.Fresh = nil })
	})
}

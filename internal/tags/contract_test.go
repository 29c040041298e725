package tags_test

import (
	"path/filepath"
	"testing"
	"time"

	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Tags above a cache keep the contract of a Registry, whether they are fresh for a
// minute or never, on the real index.
func TestContract(t *testing.T) {
	for name, fresh := range map[string]time.Duration{"fresh": time.Minute, "never": 0} {
		t.Run(name, func(t *testing.T) {
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
				return start(t, fake, cachetest.WithIndex(ix), func(o *cachetest.Options) { o.Tags.Fresh = cachetest.Always(fresh) })
			})
		})
	}
}

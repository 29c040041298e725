package tags_test

import (
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Tags above a cache keep the contract of a Registry, whether they are fresh for a
// minute or never.
func TestContract(t *testing.T) {
	for name, fresh := range map[string]time.Duration{"fresh": time.Minute, "never": 0} {
		t.Run(name, func(t *testing.T) {
			ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
				return start(t, fake, func(o *cachetest.Options) { o.Tags.Fresh = cachetest.Always(fresh) })
			})
		})
	}
}

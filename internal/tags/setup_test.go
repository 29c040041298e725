package tags_test

import (
	"testing"

	"go.uber.org/goleak"

	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a running cache with tags above it, with what these tests do with it.
type fixture struct{ *cachetest.Fixture }

// start runs a cache in front of fake. change may alter its options.
func start(t *testing.T, fake *ocitest.Fake, change ...func(*cachetest.Options)) *fixture {
	t.Helper()
	return &fixture{cachetest.Start(t, fake, change...)}
}

package tag_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func secret(t *testing.T, text string) keys.Secret {
	t.Helper()
	s, err := keys.ReadSecret(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const fleetSecret = "the secret of all mirrors"

// options are those of a mirror of a public upstream.
func options(t *testing.T, upstream oci.Registry, b bucket.Bucket) tag.Options {
	t.Helper()
	b = guard.New(b, guard.Hooks{})
	return tag.Options{
		Next: fleet.New(fleet.Options{Next: upstream, Bucket: b}), Bucket: b, Secret: secret(t, fleetSecret),
		Shares: func(oci.Ref) bool { return true },
	}
}

// run runs a mirror until the end of t.
func run(t *testing.T, o tag.Options) *tag.Registry {
	t.Helper()
	r := tag.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// start is run of a mirror with the usual options.
func start(t *testing.T, upstream oci.Registry, b bucket.Bucket) *tag.Registry {
	t.Helper()
	return run(t, options(t, upstream, b))
}

// push has v1 name a manifest that differs by n, and returns its digest.
func push(fake *ocitest.Fake, n byte) oci.Digest {
	return fake.AddManifest(ocitest.Repo, "v1", "application/vnd.oci.image.index.v1+json", []byte{'{', '}', n})
}

// want wants v1 to name d, by that way, for who is content with what was named in that
// time.
func want(t *testing.T, r oci.Registry, maxAge time.Duration, d oci.Digest, via oci.Via) oci.Result {
	t.Helper()
	result, err := r.Resolve(oci.WithMaxAge(t.Context(), maxAge), ocitest.ManifestRef(t, "v1"))
	if err != nil || result.Digest != d || result.Via != via {
		t.Errorf("v1 is %s via %s, %v; want %s via %s", result.Digest, result.Via, err, d, via)
	}
	return result
}

// wantAsked wants so many HEADs of v1 to have reached the upstream.
func wantAsked(t *testing.T, fake *ocitest.Fake, n int) {
	t.Helper()
	if got := fake.Calls("Resolve", "v1"); got != n {
		t.Errorf("%d HEADs, want %d", got, n)
	}
}

// raw returns the object of v1; nil if there is none.
func raw(t *testing.T, m *buckettest.Memory) []byte {
	t.Helper()
	o, err := m.Get(t.Context(), key(t), 0, "")
	if err != nil {
		return nil
	}
	all, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func key(t *testing.T) string {
	t.Helper()
	return secret(t, fleetSecret).Tag(ocitest.ManifestRef(t, "v1"))
}

// replace writes the object of v1.
func replace(t *testing.T, m *buckettest.Memory, object []byte) {
	t.Helper()
	if _, err := m.Put(t.Context(), key(t), object, bucket.Cond{}); err != nil {
		t.Fatal(err)
	}
}

package fleet

import (
	"bytes"
	"context"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/stack"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	registry, cdn = "registry.example:80", "cdn.registry.example:80"

	publicRepo  = "team/public"
	privateRepo = "team/private"

	account, password = "mirror", "s3cret"
)

// world is a registry, and the bucket of the mirrors in front of it.
type world struct {
	t       *testing.T
	network *hubsim.Network
	hub     *hubsim.Hub
	bucket  *buckettest.Memory
	seen    hubsim.Counters // by heads
}

// in runs a test in a bubble, in which time costs nothing.
func in(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	inFrontOf(t, hubsim.Options{Users: map[string]string{account: password}}, test)
}

// inFrontOf is in with a registry of those options.
func inFrontOf(t *testing.T, o hubsim.Options, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, network: new(hubsim.Network), bucket: buckettest.NewMemory()}
		o.Addr, o.CDNAddr, o.OtherAddr, o.Listen = registry, cdn, "other."+registry, w.network.Listen
		var err error
		w.hub, err = hubsim.Start(o)
		check(t, err)
		t.Cleanup(w.hub.Close)
		test(t, w)
	})
}

// start starts a mirror, which change may alter.
func (w *world) start(change ...func(*stack.Options)) *stack.Stack {
	w.t.Helper()
	address, err := url.Parse(w.hub.URL())
	check(w.t, err)
	transport := upstream.NewTransport(upstream.TransportOptions{URL: address})
	transport.Proxy, transport.DialContext = nil, w.network.DialContext
	w.t.Cleanup(transport.CloseIdleConnections)
	o := mirrortest.Options(w.t, w.t.TempDir(), 64<<20, mirrortest.Upstream(w.t, registry, w.hub.URL(), transport, 0))
	secret, err := keys.ReadSecret(strings.NewReader("the secret of all mirrors"))
	check(w.t, err)
	o.Fleet = &stack.Fleet{Bucket: w.bucket, Queue: forgetful{}, Secret: secret}
	o.Membership = &membership.Options{
		Index:  forgetful{},
		Limits: membership.Limits{Fresh: mirrortest.Fresh, MaxStale: mirrortest.MaxStale, MaxSilence: time.Second},
		Policy: func() membership.Policy { return membership.Rules },
		Grants: func(context.Context, string, string, string) bool { return true },
	}
	for _, c := range change {
		c(&o)
	}
	mirror, _ := mirrortest.Run(w.t, o)
	return mirror
}

// withLogin gives a mirror the login to the registry.
func (w *world) withLogin(o *stack.Options) {
	secret := filepath.Join(w.t.TempDir(), "password")
	check(w.t, os.WriteFile(secret, []byte(password), 0o600))
	o.Upstreams[0].Credentials = []stack.Credential{{Name: account, Login: login.File(account, secret)}}
}

// push has the tag v1 of a repository name a manifest that differs by n.
func (w *world) push(repo string, n byte) []byte {
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	raw := []byte(`{"schemaVersion":2,"mediaType":"` + mediaType + `","annotations":{"n":"` + string('0'+n) + `"}}`)
	w.hub.AddManifest(repo, "v1", mediaType, raw)
	return raw
}

// pull reads v1 of a repository, wants that content, and waits until it is in the bucket.
func (w *world) pull(mirror *stack.Stack, repo string, want []byte) {
	w.t.Helper()
	ref, err := oci.ParseManifest(registry, repo, "v1")
	check(w.t, err)
	got, _, err := ocitest.Read(w.t.Context(), mirror.Registry, ref)
	if err != nil || !bytes.Equal(got, want) {
		w.t.Errorf("%s: %s, %v; want %s", ref, got, err, want)
	}
	synctest.Wait()
}

// heads returns how many HEADs of manifests the registry has had since the last call, and
// how many requests of any kind.
func (w *world) heads() (heads, requests int) {
	before := w.seen
	w.seen = w.hub.Counters()
	return w.seen.ManifestHEADs - before.ManifestHEADs, w.seen.Requests - before.Requests
}

// objects returns how many objects of a kind are in the bucket.
func (w *world) objects(prefix string) int {
	w.t.Helper()
	n := 0
	for _, err := range w.bucket.List(w.t.Context(), prefix) {
		check(w.t, err)
		n++
	}
	return n
}

// forgetful is an Index and a Queue that remember nothing: no mirror is started again.
type forgetful struct{}

func (forgetful) Members() iter.Seq2[membership.Record, error] {
	return func(func(membership.Record, error) bool) {}
}
func (forgetful) UpdateMembers(_, _ []membership.Record) error { return nil }
func (forgetful) Uploads() iter.Seq2[oci.Ref, error]           { return func(func(oci.Ref, error) bool) {} }
func (forgetful) PutUpload(oci.Ref) error                      { return nil }
func (forgetful) RemoveUpload(oci.Ref) error                   { return nil }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

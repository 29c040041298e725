package private

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

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

// The upstreams, and their repositories: everyone may pull the public ones, and the
// mirror's login the others too.
const (
	corp, corpCDN   = "corp.example:80", "cdn.corp.example:80"
	other, otherCDN = "other.example:80", "cdn.other.example:80"

	publicRepo = "team/public"
	secretRepo = "team/secret"
	secondRepo = "team/second" // private, too
	otherRepo  = "team/other"  // at other, which the mirror has no login for

	account  = "mirror"
	password = "s3cret"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// world is two upstreams and a mirror of both.
type world struct {
	t           *testing.T
	profile     hubsim.Profile
	network     *hubsim.Network
	corp, other *hubsim.Hub
	dir         string
	index       membership.Index
	policy      membership.Policy
	grants      func(ctx context.Context, upstream, repository, tag string) bool

	loginRemoved bool // from the configuration, when the mirror is started again

	mirror *stack.Stack
	stop   func()
}

// newWorld starts the upstreams, and a mirror that grants private repositories to alice.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldLike(t, hubsim.Profile{})
}

// newWorldLike is newWorld with upstreams that behave like a registry.
func newWorldLike(t *testing.T, profile hubsim.Profile) *world {
	t.Helper()
	w := &world{profile: profile, t: t, network: new(hubsim.Network), dir: t.TempDir(), index: new(memory), policy: membership.Rules, grants: onlyAlice}
	w.corp = w.startHub(corp, corpCDN)
	w.other = w.startHub(other, otherCDN)
	for _, repo := range []string{secretRepo, secondRepo} {
		w.corp.AddBlob(repo, []byte("anything"))
		w.corp.SetPrivate(repo, account)
	}
	w.corp.AddBlob(publicRepo, []byte("anything"))
	w.other.AddBlob(otherRepo, []byte("anything"))
	w.start()
	return w
}

func onlyAlice(ctx context.Context, _, _, _ string) bool {
	return oci.ClientOf(ctx).Name() == "user:alice"
}

func (w *world) startHub(at, cdn string) *hubsim.Hub {
	w.t.Helper()
	hub, err := hubsim.Start(hubsim.Options{
		Addr: at, CDNAddr: cdn, OtherAddr: "other." + at, Profile: w.profile,
		Listen: w.network.Listen, Users: map[string]string{account: password},
	})
	check(w.t, err)
	w.t.Cleanup(hub.Close)
	return hub
}

func (w *world) start() {
	w.t.Helper()
	secret := filepath.Join(w.t.TempDir(), "password")
	check(w.t, os.WriteFile(secret, []byte(password), 0o600))
	private := w.upstream(corp, w.corp)
	if !w.loginRemoved {
		private.Credentials = []stack.Credential{{Name: account, Login: login.File(account, secret)}}
	}
	o := mirrortest.Options(w.t, w.dir, 64<<20, private, w.upstream(other, w.other))
	o.Membership = &membership.Options{
		Index:  w.index,
		Limits: membership.Limits{Fresh: mirrortest.Fresh, MaxStale: mirrortest.MaxStale, MaxSilence: time.Second},
		Policy: func() membership.Policy { return w.policy },
		Grants: func(ctx context.Context, upstream, repository, tag string) bool {
			return w.grants(ctx, upstream, repository, tag)
		},
	}
	w.mirror, w.stop = mirrortest.Run(w.t, o)
}

func (w *world) upstream(name string, hub *hubsim.Hub) stack.Upstream {
	address, err := url.Parse(hub.URL())
	check(w.t, err)
	transport := upstream.NewTransport(upstream.TransportOptions{URL: address})
	transport.Proxy, transport.DialContext = nil, w.network.DialContext
	w.t.Cleanup(transport.CloseIdleConnections)
	return mirrortest.Upstream(w.t, name, hub.URL(), transport, 0)
}

// restart stops the mirror and starts it on the same directory.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// alice is granted what is private, bob is not.
func (w *world) alice() context.Context { return as(w.t, "user:alice") }
func (w *world) bob() context.Context   { return as(w.t, "user:bob") }

func as(t *testing.T, name string) context.Context {
	return oci.WithClient(t.Context(), oci.Client{Names: []string{name}})
}

// served fails the test unless ref is served with that content.
func (w *world) served(ctx context.Context, ref oci.Ref, want []byte) {
	w.t.Helper()
	got, _, err := ocitest.Read(ctx, w.mirror.Registry, ref)
	if err != nil || !bytes.Equal(got, want) {
		w.t.Errorf("%s for %s: %d bytes, %v; want %d bytes", ref, oci.ClientOf(ctx).Name(), len(got), err, len(want))
	}
	if result, err := w.mirror.Registry.Resolve(ctx, ref); err != nil || result.Size != int64(len(want)) {
		w.t.Errorf("HEAD of %s: %+v, %v", ref, result, err)
	}
}

// withheld fails the test unless ref is refused with one of the codes, to HEAD as well.
func (w *world) withheld(ctx context.Context, ref oci.Ref, codes ...oci.Code) {
	w.t.Helper()
	_, headErr := w.mirror.Registry.Resolve(ctx, ref)
	got, _, err := ocitest.Read(ctx, w.mirror.Registry, ref)
	for _, err := range []error{headErr, err} {
		ok := false
		for _, code := range codes {
			ok = ok || err != nil && oci.CodeOf(err) == code
		}
		if !ok {
			w.t.Errorf("%s for %s: %d bytes, %v; want one of %v", ref, oci.ClientOf(ctx).Name(), len(got), err, codes)
		}
	}
}

func blob(t *testing.T, upstream, repo string, content []byte) oci.Ref {
	t.Helper()
	ref, err := oci.ParseBlob(upstream, repo, oci.FromBytes(content).String())
	check(t, err)
	return ref
}

func manifest(t *testing.T, upstream, repo, reference string) oci.Ref {
	t.Helper()
	ref, err := oci.ParseManifest(upstream, repo, reference)
	check(t, err)
	return ref
}

// begin reads one byte of ref, and returns what closes it.
func (w *world) begin(ctx context.Context, ref oci.Ref) (end func()) {
	w.t.Helper()
	content, err := w.mirror.Registry.Open(ctx, ref)
	check(w.t, err)
	_, err = io.ReadFull(content.Body, make([]byte, 1))
	check(w.t, err)
	return func() { _ = content.Close() }
}

// memory is an Index that outlives the mirror.
type memory struct {
	mu      sync.Mutex
	records map[membership.Record]membership.Record // by name
	broken  bool
}

func nameOf(r membership.Record) membership.Record {
	return membership.Record{Upstream: r.Upstream, Repository: r.Repository, Digest: r.Digest}
}

func (m *memory) Members() iter.Seq2[membership.Record, error] {
	return func(yield func(membership.Record, error) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, r := range m.records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memory) UpdateMembers(put, remove []membership.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return errors.New("disk full")
	}
	if m.records == nil {
		m.records = make(map[membership.Record]membership.Record)
	}
	for _, r := range put {
		m.records[nameOf(r)] = r
	}
	for _, r := range remove {
		delete(m.records, nameOf(r))
	}
	return nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

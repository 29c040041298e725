package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// group is mirrors that share a bucket and a network, in virtual time.
type group struct {
	*testing.T
	memory  *buckettest.Memory
	network *hubsim.Network
	secret  keys.Secret
	blob    []byte
	ref     oci.Ref
}

// together runs a test of a group.
func together(t *testing.T, test func(g *group)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		secret, err := keys.ReadSecret(strings.NewReader("the secret that the fleet has"))
		if err != nil {
			t.Fatal(err)
		}
		blob := ocitest.Content(100_000, 1)
		test(&group{
			T: t, memory: buckettest.NewMemory(), network: new(hubsim.Network), secret: secret,
			blob: blob, ref: ocitest.BlobRef(t, oci.FromBytes(blob)),
		})
	})
}

// member is a mirror of a group.
type member struct {
	g        *group
	self     lease.Self
	fake     *ocitest.Fake
	registry *fleet.Registry
	leases   *lease.Leases
	public   bool

	mu      sync.Mutex // guards the rest
	open    func(ctx context.Context, d oci.Digest) (*oci.Content, error)
	roles   []fleet.Role
	corrupt int
}

// add adds a mirror. Siblings find there what open opens; nil: nothing.
func (g *group) add(name string) *member {
	m := &member{g: g, self: lease.Self{Node: name, Boot: lease.NewBoot(), Addr: name + ":5003"}, fake: new(ocitest.Fake), public: true}
	m.fake.AddBlob(ocitest.Repo, g.blob)
	m.leases = lease.New(lease.Options{Bucket: g.memory, Secret: g.secret, Self: m.self})
	transport := &http.Transport{DialContext: g.network.DialContext, ResponseHeaderTimeout: 3 * time.Second}
	client := sibling.NewClient(sibling.ClientOptions{Secret: g.secret, Node: name, Transport: transport})
	m.registry = fleet.New(fleet.Options{
		Next: m.fake, Bucket: g.memory,
		Work:   &fleet.Work{Leases: m.leases, Siblings: client, Ready: func() bool { return true }},
		Public: func(oci.Ref) bool { return m.public },
		Hooks: fleet.Hooks{
			Role:    func(r fleet.Role) { m.mu.Lock(); m.roles = append(m.roles, r); m.mu.Unlock() },
			Corrupt: func(oci.Ref) { m.mu.Lock(); m.corrupt++; m.mu.Unlock() },
		},
	})
	handler := sibling.NewHandler(sibling.HandlerOptions{
		Secret: g.secret, Boot: m.self.Boot,
		Open: func(ctx context.Context, d oci.Digest) (*oci.Content, error) {
			m.mu.Lock()
			open := m.open
			m.mu.Unlock()
			if open == nil {
				return nil, fs.ErrNotExist
			}
			return open(ctx, d)
		},
	})
	listener, err := g.network.Listen(m.self.Addr)
	if err != nil {
		g.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	ctx, stop := context.WithCancel(context.Background())
	running.Go(func() { _ = m.leases.Run(ctx) })
	g.Cleanup(func() {
		stop()
		client.Close()
		_ = server.Close()
		running.Wait()
	})
	return m
}

// serves has siblings of m find content.
func (m *member) serves(open func(ctx context.Context, d oci.Digest) (*oci.Content, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = open
}

// holds makes m the holder of the lease, although it fetches nothing.
func (m *member) holds() *lease.Lease {
	held, _ := m.leases.Acquire(m.g.Context(), m.g.ref.Digest())
	if held == nil {
		m.g.Fatal("the lease is not acquired")
	}
	return held
}

// want wants m to get the blob by that way, from those who had which roles, asking the
// upstream so often.
func (m *member) want(via oci.Via, upstream int, roles ...fleet.Role) time.Duration {
	m.g.Helper()
	begun := time.Now()
	wantRead(m.g.T, m.registry, m.g.ref, m.g.blob, via)
	if n := m.fake.Calls("Open", m.g.ref.Reference()); n != upstream {
		m.g.Errorf("the upstream was asked %d times, want %d", n, upstream)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if got, want := join(m.roles), join(roles); got != want {
		m.g.Errorf("roles %s, want %s", got, want)
	}
	m.roles = nil
	return time.Since(begun)
}

func join(roles []fleet.Role) string {
	var all []string
	for _, r := range roles {
		all = append(all, string(r))
	}
	return strings.Join(all, ", ")
}

// all opens all of the blob.
func (g *group) all(context.Context, oci.Digest) (*oci.Content, error) {
	return g.content(bytes.NewReader(g.blob)), nil
}

func (g *group) content(body io.ReadSeeker) *oci.Content {
	return &oci.Content{Body: struct {
		io.ReadSeeker
		io.Closer
	}{body, io.NopCloser(nil)}}
}

// breaks reads like what it is of, until an offset at which it fails after a pause.
type breaks struct {
	*bytes.Reader
	at    int64
	pause time.Duration
}

func (b breaks) Read(p []byte) (int, error) {
	offset := b.Size() - int64(b.Len())
	if offset >= b.at {
		time.Sleep(b.pause)
		return 0, errors.New("broken")
	}
	return b.Reader.Read(p[:min(int64(len(p)), b.at-offset)])
}

func (b breaks) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{b}) }

// TestWaiter finds that who comes second reads from who fetches, and asks nobody else.
func TestWaiter(t *testing.T) {
	together(t, func(g *group) {
		a, b := g.add("a"), g.add("b")
		a.serves(g.all)
		a.want(oci.Pass, 1, fleet.Holder)
		b.want(oci.Peer, 0, fleet.Waiter)
	})
}

// TestHolderBreaks finds that a stream that breaks off goes on where it was, from whoever is
// next, and that nobody notices.
func TestHolderBreaks(t *testing.T) {
	for name, test := range map[string]struct {
		then     func(g *group, a *member)
		upstream int
		roles    []fleet.Role
		within   time.Duration
	}{
		"once": {func(g *group, a *member) { a.serves(g.all) }, 0, nil, time.Second},
		"for ever": {func(g *group, a *member) {
			a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
				return g.content(breaks{bytes.NewReader(g.blob), 30_000, 0}), nil
			})
		}, 1, []fleet.Role{fleet.Takeover}, time.Second},
		"it has it no longer": {func(_ *group, a *member) { a.serves(nil) }, 1, []fleet.Role{fleet.Takeover}, time.Second},
		"but it is in the bucket": {func(g *group, a *member) {
			a.serves(nil)
			put(g.T, g.memory, g.ref.Digest(), g.blob)
		}, 0, nil, time.Second},
		"it hangs": {func(_ *group, a *member) {
			a.serves(func(ctx context.Context, _ oci.Digest) (*oci.Content, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		}, 1, []fleet.Role{fleet.Alone}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, func(g *group) {
				a, b := g.add("a"), g.add("b")
				a.holds()
				a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
					test.then(g, a)
					return g.content(breaks{bytes.NewReader(g.blob), 30_000, 0}), nil
				})
				if name == "for ever" {
					test.then(g, a)
				}
				took := b.want(oci.Peer, test.upstream, append([]fleet.Role{fleet.Waiter}, test.roles...)...)
				if took > test.within {
					t.Errorf("took %v, want %v at most", took, test.within)
				}
			})
		})
	}
}

// TestBusy finds that who gets no stream for a long time waits as long as the holder makes
// progress, and asks the upstream only when it makes none.
func TestBusy(t *testing.T) {
	for name, test := range map[string]struct {
		then     func(g *group, a *member)
		upstream int
		roles    []fleet.Role
	}{
		"it sends later":                 {func(g *group, a *member) { a.serves(g.all) }, 0, []fleet.Role{fleet.Waiter}},
		"it is in the bucket later":      {func(g *group, _ *member) { put(g.T, g.memory, g.ref.Digest(), g.blob) }, 0, []fleet.Role{fleet.Waiter}},
		"it never sends or has anything": {func(*group, *member) {}, 1, []fleet.Role{fleet.Waiter, fleet.Alone}},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, func(g *group) {
				a, b := g.add("a"), g.add("b")
				held := a.holds()
				a.serves(func(context.Context, oci.Digest) (*oci.Content, error) { return nil, errors.New("too many streams") })
				var fetching sync.WaitGroup
				fetching.Go(func() {
					size := int64(len(g.blob))
					held.Progress(0, size)
					for have := size / 20; have <= size; have += size / 20 { // in a minute
						time.Sleep(3 * time.Second)
						held.Progress(have, size)
					}
					test.then(g, a)
				})
				begun := time.Now()
				content, err := b.registry.Open(g.Context(), g.ref)
				if err != nil || content.Via != oci.Peer || time.Since(begun) > 6*time.Second {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
				_ = content.Close()
				b.roles = nil
				took := b.want(oci.Peer, test.upstream, test.roles...)
				if took < time.Minute-6*time.Second || took > 2*time.Minute {
					t.Errorf("took %v", took)
				}
				fetching.Wait()
			})
		})
	}
}

// TestUpstreamFails finds that the upstream is asked once when it fails, whatever part a
// mirror takes, and that the failure is its answer.
func TestUpstreamFails(t *testing.T) {
	denied := oci.Errorf(oci.Denied, "denied")
	for name, prepare := range map[string]func(g *group, m *member){
		"holder":   func(*group, *member) {},
		"private":  func(_ *group, m *member) { m.public = false },
		"takeover": func(g *group, _ *member) { g.add("b").holds() },
		"alone": func(g *group, _ *member) {
			g.memory.Faults = func(op buckettest.Op, _ string) buckettest.Fault {
				if op == buckettest.Put {
					return buckettest.Fault{Err: errors.New("connection reset")}
				}
				return buckettest.Fault{}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, func(g *group) {
				m := g.add("a")
				prepare(g, m)
				m.fake.Fail(func(ocitest.Call) error { return denied })
				if _, err := m.registry.Open(g.Context(), g.ref); !errors.Is(err, denied) {
					g.Error(err)
				}
				if n := m.fake.Calls("Open", g.ref.Reference()); n != 1 {
					g.Errorf("the upstream was asked %d times", n)
				}
				if n := len(m.leases.Held()); n != 0 {
					g.Errorf("%d leases are held", n)
				}
			})
		})
	}
}

// TestManifest finds that a manifest is read from the holder, and from the upstream when
// that stalls, sends another one, or one that does not say its media type.
func TestManifest(t *testing.T) {
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"a":"` + strings.Repeat("a", 20_000) + `"}}`)
	untyped := []byte(`{"schemaVersion":2}`)
	for name, test := range map[string]struct {
		wants []byte
		sends func(g *group, right []byte) io.ReadSeeker
		via   oci.Via
	}{
		"right":   {manifest, func(_ *group, right []byte) io.ReadSeeker { return bytes.NewReader(right) }, oci.Peer},
		"untyped": {untyped, func(_ *group, right []byte) io.ReadSeeker { return bytes.NewReader(right) }, oci.Pass},
		"wrong":   {manifest, func(_ *group, right []byte) io.ReadSeeker { return bytes.NewReader(bytes.ToUpper(right)) }, oci.Pass},
		"stalls":  {manifest, func(_ *group, right []byte) io.ReadSeeker { return breaks{bytes.NewReader(right), 10_000, time.Hour} }, oci.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, func(g *group) {
				a, b := g.add("a"), g.add("b")
				g.ref = ocitest.ManifestRef(g.T, b.fake.AddManifest(ocitest.Repo, "", "application/vnd.oci.image.manifest.v1+json", test.wants).String())
				a.holds()
				a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
					return g.content(test.sends(g, test.wants)), nil
				})
				begun := time.Now()
				wantRead(g.T, b.registry, g.ref, test.wants, test.via)
				if took := time.Since(begun); took > 6*time.Second {
					g.Errorf("took %v", took)
				}
				if name == "wrong" {
					wantRead(g.T, b.registry, g.ref, test.wants, oci.Pass)
					if b.corrupt != 1 {
						g.Errorf("reported %d times", b.corrupt)
					}
				}
				time.Sleep(2 * time.Hour) // what stalls ends
			})
		})
	}
}

package fleetsim

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/fleet"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
	"mirrord/internal/stack"
	"mirrord/internal/tags"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

// world is a registry and the mirrors in front of it, with their bucket and network.
type world struct {
	t       *testing.T
	dir     string
	network *hubsim.Network
	hub     *hubsim.Hub
	store   *store
	secret  keys.Secret
	site    *line
	img     *image

	mu    sync.Mutex       // guards the rest
	lines map[string]*line // from the mirrors, by address
	roles map[fleet.Role]int
}

// newWorld returns a world whose store refuses that share of the requests.
func newWorld(t *testing.T, refused float64) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), network: new(hubsim.Network), store: newStore(refused), site: newLine(siteSpeed),
		lines: make(map[string]*line), roles: make(map[fleet.Role]int),
	}
	var err error
	w.hub, err = hubsim.Start(hubsim.Options{Addr: registry, CDNAddr: cdn, OtherAddr: "other." + registry, Listen: w.network.Listen, Limit: 100})
	check(t, err)
	t.Cleanup(w.hub.Close)
	w.hub.Inject(hubsim.Fault{Latency: upstreamLatency, Bandwidth: upstreamSpeed})
	w.secret, err = keys.ReadSecret(strings.NewReader("the secret of all mirrors"))
	check(t, err)
	w.img = push(t, w.hub, 1)
	return w
}

// start starts a mirror.
func (w *world) start(name string) *stack.Stack {
	w.t.Helper()
	down, up := newLine(nodeSpeed), newLine(nodeSpeed)
	address := name + ":5003"
	w.mu.Lock()
	w.lines[address] = up
	w.mu.Unlock()
	client := w.client(name, down)
	self := lease.Self{Node: name, Boot: lease.NewBoot(), Addr: address}
	o := w.options(name, down)
	reached := connection{w.store, down}
	o.Fleet = &stack.Fleet{
		Bucket: guard.New(reached, guard.Hooks{}), Queue: forgetful{}, Secret: w.secret,
		Hooks: fleet.Hooks{Role: w.note},
		Work:  &stack.FleetWork{Self: self, Bucket: guard.New(reached, guard.Hooks{}), Siblings: client, Ready: func() bool { return true }},
	}
	mirror, _ := mirrortest.Run(w.t, o)
	w.serve(self, mirror)
	return mirror
}

// options are those of a mirror, without a fleet.
func (w *world) options(name string, down *line) stack.Options {
	w.t.Helper()
	parts := filepath.Join(w.dir, name)
	check(w.t, os.Mkdir(parts, 0o755))
	address, err := url.Parse(w.hub.URL())
	check(w.t, err)
	transport := upstream.NewTransport(upstream.TransportOptions{URL: address})
	transport.Proxy = nil
	transport.DialContext = dialer(w.network, func(string) []*line { return []*line{down, w.site} })
	w.t.Cleanup(transport.CloseIdleConnections)
	return stack.Options{
		Upstreams: []stack.Upstream{mirrortest.Upstream(w.t, registry, w.hub.URL(), transport, 0)},
		Ledger:    ratelimit.NewLedger(nil),
		Cache:     cache.Options{Store: newShelf(w.img), Index: forgetful{}, Parts: parts, Limits: cache.Limits{MaxSize: 1 << 30}},
		Tags: tags.Options{Index: forgetful{}, Fresh: func(oci.Ref) time.Duration { return 10 * time.Minute }, Limits: tags.Limits{
			FreshLists: mirrortest.Fresh, MaxStale: mirrortest.MaxStale, MaxSilence: 1500 * time.Millisecond,
		}},
	}
}

// client returns what asks the other mirrors.
func (w *world) client(name string, down *line) *sibling.Client {
	transport := &http.Transport{
		ResponseHeaderTimeout: 3 * time.Second, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		DialContext: dialer(w.network, func(address string) []*line {
			w.mu.Lock()
			defer w.mu.Unlock()
			return []*line{down, w.lines[address]}
		}),
	}
	c := sibling.NewClient(sibling.ClientOptions{Secret: w.secret, Node: name, Transport: transport})
	w.t.Cleanup(c.Close)
	return c
}

// serve serves the other mirrors.
func (w *world) serve(self lease.Self, mirror *stack.Stack) {
	w.t.Helper()
	listener, err := w.network.Listen(self.Addr)
	check(w.t, err)
	server := &http.Server{Handler: sibling.NewHandler(sibling.HandlerOptions{Secret: w.secret, Boot: self.Boot, Open: mirror.OpenForSibling})}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	w.t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
}

func (w *world) note(role fleet.Role) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.roles[role]++
}

// startAll starts so many mirrors.
func (w *world) startAll(nodes int) []*stack.Stack {
	var all []*stack.Stack
	for i := range nodes {
		all = append(all, w.start(fmt.Sprintf("mirror-%d", i)))
	}
	return all
}

// forgetful is an Index and a Queue that remember nothing: no mirror is started again.
type forgetful struct{}

func (forgetful) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return func(func(cache.BlobRecord, error) bool) {}
}
func (forgetful) Tags() iter.Seq2[tags.Record, error] { return func(func(tags.Record, error) bool) {} }
func (forgetful) PutBlobs(...cache.BlobRecord) error  { return nil }
func (forgetful) RemoveBlobs(...oci.Digest) error     { return nil }
func (forgetful) PutTags(...tags.Record) error        { return nil }
func (forgetful) RemoveTags(...oci.Ref) error         { return nil }
func (forgetful) Uploads() iter.Seq2[oci.Ref, error]  { return func(func(oci.Ref, error) bool) {} }
func (forgetful) PutUpload(oci.Ref) error             { return nil }
func (forgetful) RemoveUpload(oci.Ref) error          { return nil }

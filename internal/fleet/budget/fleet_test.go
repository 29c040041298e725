package budget_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/budget"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const latency = 50 * time.Millisecond // of the upstream, each way, at most

// hub is an upstream that counts pulls as Docker Hub does.
type hub struct {
	mu     sync.Mutex
	limit  int
	window time.Duration
	silent bool   // it tells nothing of its limit
	source string // what it says it counts by
	down   bool   // it refuses each pull, for a minute
	abuse  bool   // and that as its abuse limiter does

	opened   time.Time
	pulls    int // counted in this window
	all      int // counted
	refused  int
	requests []time.Time // for manifests
}

func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	<-time.After(rand.N(latency))
	defer func() { <-time.After(rand.N(latency)) }() // responses overtake each other
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opened.IsZero() || time.Since(h.opened) >= h.window {
		h.opened, h.pulls = time.Now(), 0
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: make(http.Header), Body: http.NoBody}
	if r.Method == http.MethodGet {
		h.requests = append(h.requests, time.Now())
		if h.down || h.pulls >= h.limit {
			h.refused++
			resp.StatusCode, resp.Body = http.StatusTooManyRequests, body(`{"errors":[{"code":"TOOMANYREQUESTS","message":"enough"}]}`)
			resp.Header.Set("Retry-After", "60")
			if h.abuse {
				resp.Body = body("enough")
			}
		} else {
			h.pulls++
			h.all++
		}
	}
	if h.source != "" {
		resp.Header.Set("Docker-Ratelimit-Source", h.source)
	}
	if !h.silent {
		resp.Header.Set("Ratelimit-Limit", fmt.Sprintf("%d;w=%d", h.limit, int(h.window.Seconds())))
		resp.Header.Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", h.limit-h.pulls, int(h.window.Seconds())))
	}
	return resp, nil
}

func body(s string) readCloser { return readCloser{strings.NewReader(s)} }

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// counted returns how many pulls were counted and refused.
func (h *hub) counted() (counted, refused int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all, h.refused
}

// since returns how many requests for manifests came after a time.
func (h *hub) since(at time.Time) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.requests {
		if r.After(at) {
			n++
		}
	}
	return n
}

func (h *hub) set(change func(h *hub)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

// node is a mirror of a fleet.
type node struct {
	*ratelimit.Transport
	ledger *budget.Ledger
	bucket *counting
	lost   *atomic.Int32 // one response of the upstream in so many is lost; 0: none
}

// lossy is a network to the upstream that may lose the responses.
type lossy struct {
	*hub
	lost *atomic.Int32
}

var errLost = errors.New("the response is lost")

func (l lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.hub.RoundTrip(r)
	if of := l.lost.Load(); err == nil && of > 0 && rand.N(of) == 0 {
		return nil, errLost
	}
	return resp, err
}

const reserved = 20

// start starts a mirror until the test ends. Its login is user; empty: none.
func start(t *testing.T, h *hub, b bucket.Bucket, user string) *node {
	t.Helper()
	return startWith(t, h, b, user, nil)
}

// startWith is start for a bucket of which ready says whether it is used; nil: always.
func startWith(t *testing.T, h *hub, b bucket.Bucket, user string, ready func() bool) *node {
	t.Helper()
	lost := new(atomic.Int32)
	n := &node{Transport: ratelimit.New("docker.io", "login", lossy{h, lost}), bucket: &counting{Bucket: b}, lost: lost}
	n.ledger = budget.New(budget.Options{Upstream: "docker.io", Bucket: n.bucket, Secret: secret(t), Reserve: func(int) int { return reserved }, Ready: ready})
	n.Share(n.ledger, func() string { return user })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n
}

func startAll(t *testing.T, count int, h *hub, b bucket.Bucket) (all []*node) {
	for range count {
		all = append(all, start(t, h, b, "office"))
	}
	return all
}

func secret(t *testing.T) keys.Secret {
	t.Helper()
	s, err := keys.ReadSecret(strings.NewReader("what all mirrors of the fleet know"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counting counts the requests to a bucket.
type counting struct {
	bucket.Bucket
	mu         sync.Mutex
	gets, puts int
}

func (c *counting) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	c.mu.Lock()
	c.gets++
	c.mu.Unlock()
	return c.Bucket.Get(ctx, key, from, etag)
}

func (c *counting) Put(ctx context.Context, key string, data []byte, cond bucket.Cond) (string, error) {
	c.mu.Lock()
	c.puts++
	c.mu.Unlock()
	return c.Bucket.Put(ctx, key, data, cond)
}

func (c *counting) counts() (gets, puts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets, c.puts
}

// send sends a request for a manifest.
func (n *node) send(ctx context.Context, method string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://hub/v2/library/alpine/manifests/latest", nil)
	if err != nil {
		return err
	}
	resp, err := n.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// pull pulls what was never pulled.
func (n *node) pull(t *testing.T) error {
	return n.send(t.Context(), http.MethodGet)
}

// refresh pulls a newer version of what is cached, unless it is known that the pull is
// reserved.
func (n *node) refresh(t *testing.T) error {
	if limit := n.Budget().Reserved(reserved); limit != nil {
		return limit
	}
	return n.send(oci.WithoutReserve(t.Context()), http.MethodGet)
}

// pullAll has workers of each mirror pull as fast as they can for a while.
func pullAll(t *testing.T, nodes []*node, workers int, pull func(*node, *testing.T) error, during time.Duration) {
	t.Helper()
	pullEach(t, nodes, workers, pull, during, 30*time.Millisecond)
}

// pullEach has workers of each mirror pull for a while, each with a pause between two pulls.
func pullEach(t *testing.T, nodes []*node, workers int, pull func(*node, *testing.T) error, during, pause time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	end := time.Now().Add(during)
	for _, n := range nodes {
		for range workers {
			all.Go(func() {
				for time.Now().Before(end) {
					var limit *oci.LimitError
					if err := pull(n, t); err != nil && !errors.As(err, &limit) && !errors.Is(err, errLost) {
						t.Error(err)
					}
					<-time.After(pause)
				}
			})
		}
	}
	all.Wait()
}

// limited checks that err is a limit of a kind.
func limited(t *testing.T, err error, kind oci.LimitKind) *oci.LimitError {
	t.Helper()
	var limit *oci.LimitError
	if !errors.As(err, &limit) || limit.Kind != kind {
		t.Fatalf("%v, want a limit of %s", err, kind)
	}
	return limit
}

// store is a bucket whose faults can be changed.
type store struct {
	*buckettest.Memory
	faults atomic.Pointer[faults]
}

type faults = func(buckettest.Op, string) buckettest.Fault

func (s *store) set(f faults) { s.faults.Store(&f) }

// memory returns a bucket whose requests take a while.
func memory() *store {
	s := &store{Memory: buckettest.NewMemory()}
	s.Faults = func(op buckettest.Op, key string) buckettest.Fault { return (*s.faults.Load())(op, key) }
	s.set(delayed)
	return s
}

func delayed(buckettest.Op, string) buckettest.Fault {
	return buckettest.Fault{Before: 10 * time.Millisecond, After: 10 * time.Millisecond}
}

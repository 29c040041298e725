package ratelimit

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Budget is what an upstream has said of its limit on manifest GETs. The zero
// Budget knows of no limit.
type Budget struct {
	Limit     int           // manifest GETs in a window; 0: no limit known
	Window    time.Duration // 0: not told
	Remaining int           // may be negative: Docker Hub has said so
	Observed  time.Time     // when the upstream said it
}

// Transport observes the quota of one upstream, and keeps to it: an answer 429
// becomes an *oci.LimitError, and until the time that it names no request is
// sent that is known to be refused; those fail with the same error. When the
// time is over one request goes, and the others after its success. It is an
// http.RoundTripper and may be used concurrently.
type Transport struct {
	upstream string
	next     http.RoundTripper

	mu     sync.Mutex // guards all below
	budget Budget
	all    gate // closed by the abuse limiter, for every request
	pulls  gate // closed by the pull limit, for manifest GETs
}

// New returns a Transport that names the upstream in its errors.
func New(upstream string, next http.RoundTripper) *Transport {
	return &Transport{upstream: upstream, next: next}
}

// Budget returns what the upstream said last.
func (t *Transport) Budget() Budget {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.budget
}

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response != nil { // a hop of a redirect: storage has limits of its own
		return t.ask(req)
	}
	pass, err := t.admit(isPull(req))
	if err != nil {
		return nil, err
	}
	resp, err := t.ask(req)
	t.settle(pass, err)
	return resp, err
}

// isPull reports whether the upstream counts req: HEAD and blobs are free.
func isPull(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/manifests/")
}

func (t *Transport) ask(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t.observe(resp.Header, now)
	if resp.StatusCode != http.StatusTooManyRequests {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxWords)) // what could be read is what is told
	return nil, limitError(t.upstream, resp.Header, body, now)
}

// observe notes the quota headers, where there are any: an answer without them
// says nothing, and never that nothing is left.
func (t *Transport) observe(h http.Header, now time.Time) {
	limit, window, ok := parseQuota(h.Get("RateLimit-Limit"))
	if !ok {
		return
	}
	remaining, _, ok := parseQuota(h.Get("RateLimit-Remaining"))
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.budget = Budget{Limit: limit, Window: window, Remaining: remaining, Observed: now}
}

package ratelimit

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// limiter is an upstream that refuses on demand and counts its requests.
type limiter struct {
	mu     sync.Mutex
	refuse func(*http.Request) *http.Response
	delay  time.Duration
	err    error
	seen   int
}

func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen++
	if l.delay > 0 {
		<-time.After(l.delay)
	}
	if l.err != nil {
		return nil, l.err
	}
	if l.refuse != nil {
		if resp := l.refuse(req); resp != nil {
			return resp, nil
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func refusal(body, retryAfter string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusTooManyRequests,
		Header:     http.Header{"Retry-After": {retryAfter}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

const (
	pullBody  = `{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}`
	abuseBody = "Too Many Requests (HAP429).\n"
)

var (
	pull = httptest.NewRequest(http.MethodGet, "/v2/library/alpine/manifests/3", nil)
	head = httptest.NewRequest(http.MethodHead, "/v2/library/alpine/manifests/3", nil)
	blob = httptest.NewRequest(http.MethodGet, "/v2/library/alpine/blobs/sha256:0", nil)
)

// try sends req and returns the limit, or nil when there is none.
func try(t *testing.T, rt http.RoundTripper, req *http.Request) *oci.LimitError {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	var limit *oci.LimitError
	switch {
	case errors.As(err, &limit):
		return limit
	case err != nil:
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return nil
}

// The pull limit stops only manifest GETs, and as long as Retry-After says.
func TestPullLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{refuse: func(req *http.Request) *http.Response {
			if isPull(req) {
				return refusal(pullBody, "60")
			}
			return nil
		}}
		tr := New("docker.io", "login", l)
		if limit := try(t, tr, pull); limit == nil || limit.Kind != oci.LimitPulls {
			t.Fatalf("%v, want the pull limit", limit)
		}
		until := time.Now().Add(time.Minute)
		for range 10 {
			<-time.After(5 * time.Second)
			if limit := try(t, tr, pull); limit == nil || !limit.RetryAt.Equal(until) {
				t.Fatalf("%v, want the limit until %s", limit, until)
			}
		}
		if l.seen != 1 {
			t.Errorf("%d requests were sent, want 1: the others are known to be refused", l.seen)
		}
		for _, req := range []*http.Request{head, blob} {
			if limit := try(t, tr, req); limit != nil {
				t.Errorf("%s %s: %v", req.Method, req.URL.Path, limit)
			}
		}
		<-time.After(10 * time.Second)
		if limit := try(t, tr, pull); limit == nil || l.seen != 4 {
			t.Errorf("%v after %d requests, want the probe refused", limit, l.seen)
		}
		l.refuse = nil
		<-time.After(time.Minute)
		for range 3 {
			if limit := try(t, tr, pull); limit != nil {
				t.Errorf("%v, want the gate open", limit)
			}
		}
	})
}

// A limit that does not say how long it lasts is tested after a second, and then after
// twice as long each time.
func TestLimitWithoutRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := func(*http.Request) *http.Response { return refusal(abuseBody, "") }
		l := &limiter{refuse: refuse}
		tr := New("quay.io", "login", l)
		for range 2 { // the second time after the limit was over
			for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				limit := try(t, tr, head)
				if limit == nil || time.Until(limit.RetryAt) != wait*time.Second {
					t.Fatalf("%v in %v, want %d s", limit, time.Until(limit.RetryAt), wait)
				}
				<-time.After(wait * time.Second)
			}
			l.refuse = nil
			if limit := try(t, tr, head); limit != nil {
				t.Fatal(limit)
			}
			l.refuse = refuse
		}
	})
}

// slowRefusal refuses every request after a second.
type slowRefusal struct{}

func (slowRefusal) RoundTrip(*http.Request) (*http.Response, error) {
	<-time.After(time.Second)
	return refusal(abuseBody, ""), nil
}

// Requests that were sent together are refused together, which is one refusal.
func TestRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New("quay.io", "login", slowRefusal{})
		for range 100 {
			go func() { _, _ = tr.RoundTrip(head) }()
		}
		<-time.After(time.Second)
		synctest.Wait()
		if limit := try(t, tr, head); limit == nil || time.Until(limit.RetryAt) != minRetry {
			t.Errorf("%v, want to wait %s", limit, minRetry)
		}
	})
}

// The abuse limiter stops all requests except those to storage hosts.
func TestAbuseLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{refuse: func(*http.Request) *http.Response { return refusal(abuseBody, "60") }}
		tr := New("docker.io", "login", l)
		if limit := try(t, tr, head); limit == nil || limit.Kind == oci.LimitPulls {
			t.Fatalf("%v, want the abuse limit", limit)
		}
		for _, req := range []*http.Request{pull, head, blob} {
			if limit := try(t, tr, req); limit == nil {
				t.Errorf("%s %s was sent", req.Method, req.URL.Path)
			}
		}
		l.refuse = nil
		hop := blob.Clone(t.Context())
		hop.Response = &http.Response{StatusCode: http.StatusTemporaryRedirect}
		if limit := try(t, tr, hop); limit != nil || l.seen != 2 {
			t.Errorf("storage: %v after %d requests", limit, l.seen)
		}
		<-time.After(time.Minute)
		if limit := try(t, tr, pull); limit != nil {
			t.Errorf("%v, want the gate open", limit)
		}
	})
}

// A 429 for a request that is not a pull is not the pull limit, even with JSON.
func TestJSONRefusalOfOtherRequests(t *testing.T) {
	tr := New("ghcr.io", "login", &limiter{refuse: func(*http.Request) *http.Response { return refusal(pullBody, "60") }})
	if limit := try(t, tr, blob); limit == nil || limit.Kind != oci.LimitRequests {
		t.Errorf("%v, want a limit on requests", limit)
	}
}

// A limit of a storage host does not affect requests to the registry.
func TestStorageLimit(t *testing.T) {
	l := &limiter{refuse: func(*http.Request) *http.Response { return refusal("slow down", "60") }}
	tr := New("docker.io", "login", l)
	hop := blob.Clone(t.Context())
	hop.Response = &http.Response{StatusCode: http.StatusTemporaryRedirect}
	if limit := try(t, tr, hop); limit == nil {
		t.Error("the refusal is lost")
	}
	l.refuse = nil
	if limit := try(t, tr, blob); limit != nil {
		t.Errorf("%v, want the registry asked", limit)
	}
}

// After RetryAt a thousand clients cause one probe.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{refuse: func(*http.Request) *http.Response { return refusal(pullBody, "60") }}
		tr := New("docker.io", "login", l)
		try(t, tr, pull)
		<-time.After(time.Minute)
		l.delay = time.Second
		var clients sync.WaitGroup
		for range 1000 {
			clients.Go(func() {
				if limit := try(t, tr, pull); limit == nil || !limit.RetryAt.After(time.Now()) {
					t.Errorf("%v, want a limit that is not over", limit)
				}
			})
		}
		clients.Wait()
		if l.seen != 2 {
			t.Errorf("%d requests were sent, want 2", l.seen)
		}
	})
}

// After a probe without a response the next request probes.
func TestProbeWithoutResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, body := range map[string]string{"pulls": pullBody, "all": abuseBody} {
			l := &limiter{refuse: func(*http.Request) *http.Response { return refusal(body, "60") }}
			tr := New("docker.io", "login", l)
			try(t, tr, pull)
			<-time.After(time.Minute)
			l.err = errors.New("cut")
			if _, err := tr.RoundTrip(pull); !errors.Is(err, l.err) {
				t.Errorf("%s: %v, want the probe's error", name, err)
			}
			l.err, l.refuse = nil, nil
			if limit := try(t, tr, pull); limit != nil {
				t.Errorf("%s: %v, want the next probe sent", name, limit)
			}
		}
	})
}

// Both gates are closed, and the abuse limiter's RetryAt comes first: a pull that
// the other gate blocks does not use up its probe.
func TestBothGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{refuse: func(*http.Request) *http.Response { return refusal(pullBody, "600") }}
		tr := New("docker.io", "login", l)
		try(t, tr, pull)
		l.refuse = func(*http.Request) *http.Response { return refusal(abuseBody, "60") }
		<-time.After(time.Second)
		try(t, tr, head)
		if b := tr.Budget(); b.LimitedBy != oci.LimitRequests || b.LimitedAt.Sub(b.RefusedAt) != time.Second {
			t.Errorf("limited by %s at %v, refused at %v", b.LimitedBy, b.LimitedAt, b.RefusedAt)
		}
		l.refuse = nil
		<-time.After(time.Minute)
		if limit := try(t, tr, pull); limit == nil || limit.Kind != oci.LimitPulls {
			t.Errorf("%v, want the pull limit", limit)
		}
		if limit := try(t, tr, head); limit != nil {
			t.Errorf("%v, want the probe sent", limit)
		}
	})
}

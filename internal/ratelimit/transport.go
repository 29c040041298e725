package ratelimit

import (
	"io"
	"net/http"
	"path"
	"time"

	"mirrord/internal/oci"
)

// Transport sends the requests of one credential, observes its quota and keeps
// to it: an answer 429 becomes an *oci.LimitError, and until the time that it
// names no request is sent that is known to be refused; those fail with the
// same error. When the time is over one request goes, and the others after its
// success. It is an http.RoundTripper and may be used concurrently.
type Transport struct {
	upstream   *upstream
	credential string
	next       http.RoundTripper

	// guarded by upstream.mu
	figures figures
	pulls   gate // closed by the pull limit, for manifest GETs
	spent   int64
	limited map[oci.LimitKind]int64
}

// upstream is what the credentials of one upstream have in common.
type upstream struct {
	name string
	gates
}

// New returns the Transport of a credential that is its upstream's only one and
// whose budget is not remembered; a Ledger makes the others.
func New(name, credential string, next http.RoundTripper) *Transport {
	return newTransport(&upstream{name: name}, credential, next)
}

func newTransport(u *upstream, credential string, next http.RoundTripper) *Transport {
	return &Transport{upstream: u, credential: credential, next: next, limited: make(map[oci.LimitKind]int64)}
}

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response != nil { // a hop of a redirect: storage has limits of its own
		resp, err := t.next.RoundTrip(req)
		if err == nil {
			err = t.refusal(resp, false, time.Now())
		}
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
	pull := isPull(req)
	pass, err := t.admit(pull)
	if err != nil {
		return nil, err
	}
	sent := time.Now()
	resp, err := t.next.RoundTrip(req)
	return t.settle(pass, pull, sent, resp, err)
}

// isPull reports whether the upstream counts req: HEAD and blobs are free. A
// path ends with <kind>/<reference>; a repository may be called "manifests" too.
func isPull(req *http.Request) bool {
	return req.Method == http.MethodGet && path.Base(path.Dir(req.URL.Path)) == "manifests"
}

// refusal makes the error of a 429, whose body it closes; nil for any other
// answer. What refuses anything but a pull is no pull limit, whatever it says.
func (t *Transport) refusal(resp *http.Response, pull bool, now time.Time) error {
	if resp.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxWords)) // what could be read is what is told
	limit := limitError(t.upstream.name, resp.Header, body, now)
	if !pull {
		limit.Kind = oci.LimitRequests
	}
	return limit
}

// settle notes how an admitted request went, and returns the same.
func (t *Transport) settle(p pass, pull bool, sent time.Time, resp *http.Response, err error) (*http.Response, error) {
	now := time.Now()
	var header http.Header
	spent := false
	if err == nil {
		header, spent = resp.Header, pull && resp.StatusCode == http.StatusOK
		err = t.refusal(resp, pull, now)
	}
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	t.figures.observe(header, sent, now)
	if spent {
		t.spent++
	}
	err = t.conclude(p, err, now)
	if err != nil {
		return nil, err
	}
	t.heed(now)
	return resp, nil
}

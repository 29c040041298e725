package ratelimit

import (
	"io"
	"net/http"
	"path"
	"time"

	"mirrord/internal/oci"
)

// Transport sends the requests of one credential, observes its quota and keeps
// within it. A 429 becomes an *oci.LimitError; until its RetryAt, requests that
// are known to be refused are not sent and fail with the same error. After that one
// request probes the limit, and the others follow when it succeeds. It is an
// http.RoundTripper and may be used concurrently.
type Transport struct {
	upstream   *upstream
	credential string
	next       http.RoundTripper

	// guarded by upstream.mu
	report  report
	pulls   gate // closed by the pull limit, for manifest GETs
	spent   int64
	limited map[oci.LimitKind]int64 // 429 responses
	sharing sharing
}

// upstream is the state that the credentials of one upstream share.
type upstream struct {
	name string
	gates
}

// New returns a Transport for the only credential of an upstream, without a record
// of its budget; with several credentials or records, use a Ledger.
func New(name, credential string, next http.RoundTripper) *Transport {
	return newTransport(&upstream{name: name}, credential, next)
}

func newTransport(u *upstream, credential string, next http.RoundTripper) *Transport {
	return &Transport{upstream: u, credential: credential, next: next, limited: make(map[oci.LimitKind]int64)}
}

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response != nil { // a redirect: the storage host has its own limits
		resp, err := t.next.RoundTrip(req)
		if err == nil {
			err = t.storageRefusal(resp, time.Now())
		}
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
	pull := isPull(req)
	p, err := t.admit(pull)
	if err != nil {
		return nil, err
	}
	if err := t.take(req.Context(), p, pull); err != nil {
		return nil, err
	}
	sent := time.Now()
	resp, err := t.next.RoundTrip(req)
	return t.finish(p, pull, sent, resp, err)
}

// isPull reports whether the upstream counts req: HEAD and blobs are free. The path
// ends in <kind>/<reference>; a repository may also be named "manifests".
func isPull(req *http.Request) bool {
	return req.Method == http.MethodGet && path.Base(path.Dir(req.URL.Path)) == "manifests"
}

// storageRefusal is refusal for a storage host, whose limits are not remembered.
func (t *Transport) storageRefusal(resp *http.Response, now time.Time) error {
	limit := t.refusal(resp, false, now)
	if limit == nil {
		return nil
	}
	if limit.RetryAt.IsZero() {
		limit.RetryAt = now.Add(defaultRetry)
	}
	return limit
}

// refusal returns the error for a 429, and closes its body; it returns nil for any
// other response. A 429 for a request that is not a pull is never the pull limit,
// whatever its body says.
func (t *Transport) refusal(resp *http.Response, pull bool, now time.Time) *oci.LimitError {
	if resp.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a partial message is better than none
	limit := limitError(t.upstream.name, resp.Header, body, now)
	if !pull {
		limit.Kind = oci.LimitRequests
	}
	return limit
}

// finish records the result of an admitted request, and returns it.
func (t *Transport) finish(p admission, pull bool, sent time.Time, resp *http.Response, err error) (*http.Response, error) {
	now := time.Now()
	o := Outcome{Pull: pull, Sent: sent, Received: now, Answered: err == nil}
	var header http.Header
	spent := false
	if err == nil {
		header, spent = resp.Header, pull && resp.StatusCode == http.StatusOK
		if o.Limited = t.refusal(resp, pull, now); o.Limited != nil {
			err = o.Limited
		}
	}
	err = t.note(&o, p, spent, header, err)
	t.tell(o)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// note records the result of an admitted request, and completes o. It returns err as
// updateGates does.
func (t *Transport) note(o *Outcome, p admission, spent bool, header http.Header, err error) error {
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	o.Reported = t.report.observe(header, o.Sent, o.Received)
	if spent {
		t.spent++
	}
	if err = t.updateGates(p, err, o.Received); err == nil {
		t.adjustPulls(o.Received)
	}
	o.Budget = t.budget(o.Received)
	return err
}

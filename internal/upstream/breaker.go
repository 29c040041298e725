package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"mirrord/internal/oci"
)

const (
	hostFailures   = 5               // consecutive failures
	minFailureTime = time.Second     // the least time between the first and the last of them that opens the breaker
	probeEvery     = 5 * time.Second // interval of probes to a failing host
	probeTime      = 9 * time.Second // for its response: less than two intervals
	maxHosts       = 64              // remembered for each upstream: a registry uses a few
)

// BreakerOptions configure Breakers. All fields are required. The hooks are called
// under the lock of their host, so that they arrive in order; they must not block
// or call the Breakers.
type BreakerOptions struct {
	Name   string                       // of the upstream, for errors
	URL    *url.URL                     // the registry's root, without /v2/
	Next   http.RoundTripper            // to the hosts
	Opened func(host string, err error) // requests to host are refused from now on, because of err
	Closed func(host string)            // host has responded to a probe
}

// Breakers is the transport to the hosts of one upstream (the registry, its token
// service, its storage) with a circuit breaker for each. Requests to a host that has
// failed hostFailures times in a row fail at once with an *oci.Error, until the host
// has responded to a probe by Run: no client waits on a dead host. Error responses
// for one path count once, and when all failures are of one path, the breaker opens
// only if a probe fails too: a client cannot open it by repeating one bad request.
// Breakers may be used concurrently.
type Breakers struct {
	opts  BreakerOptions
	hosts *lru.Cache[string, *host] // by scheme and host
}

// NewBreakers returns Breakers that are all closed. It starts no goroutine.
func NewBreakers(o BreakerOptions) *Breakers {
	hosts, err := lru.New[string, *host](maxHosts)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Breakers{opts: o, hosts: hosts}
}

// RoundTrip sends req unless the breaker of its host is open.
func (b *Breakers) RoundTrip(req *http.Request) (*http.Response, error) {
	h := b.host(req.URL)
	if err := h.checkOpen(); err != nil {
		return nil, err
	}
	return b.send(h, req, false)
}

// host returns the state of the host of u.
func (b *Breakers) host(u *url.URL) *host {
	key := u.Scheme + "://" + u.Host
	if h, ok := b.hosts.Get(key); ok {
		return h
	}
	h := newHost(u, &b.opts)
	if earlier, ok, _ := b.hosts.PeekOrAdd(key, h); ok {
		return earlier
	}
	return h
}

// send sends a request to h and records the outcome.
func (b *Breakers) send(h *host, req *http.Request, probe bool) (*http.Response, error) {
	var connected atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	o := outcome{sent: time.Now(), path: pathOf(req), ping: OperationOf(req) == Ping}
	resp, err := b.opts.Next.RoundTrip(req.WithContext(ctx))
	o.connected, o.responded = connected.Load() || err == nil, err == nil
	o.failed = hostFailure(req.Context(), resp, err)
	if o.failed != errInconclusive {
		h.record(o, probe)
	}
	return resp, err
}

// pathOf returns what identifies a request among others to its host: links to
// storage differ in their signature only, and a token service has one path but a
// scope for each repository.
func pathOf(req *http.Request) string {
	if OperationOf(req) == Token {
		return req.URL.RequestURI()
	}
	return req.URL.Path
}

var (
	errSlow         = errors.New("it did not respond in time")
	errInconclusive = errors.New("the request says nothing about the host") // the caller canceled it, the address is not allowed, or the mirror is offline
)

// hostFailure returns why a request counts as a failure of its host, nil when it
// does not (any status below 500, rate limits included, and 508 of another mirror), or errInconclusive.
func hostFailure(ctx context.Context, resp *http.Response, err error) error {
	switch why := context.Cause(ctx); {
	case err == nil && (resp.StatusCode < http.StatusInternalServerError || resp.StatusCode == http.StatusLoopDetected):
		return nil
	case err == nil:
		return errors.New("it responded with " + resp.Status)
	case errors.Is(why, context.DeadlineExceeded), errors.Is(why, errResponseTimeout):
		return errSlow
	case why != nil, errors.Is(err, errPrivate), errors.Is(err, oci.ErrOffline):
		return errInconclusive
	}
	return redact(err)
}

// Failing returns the number of hosts whose breaker is open.
func (b *Breakers) Failing() int {
	failing := 0
	for _, h := range b.hosts.Values() {
		if h.failing() {
			failing++
		}
	}
	return failing
}

// Failures returns why nothing is sent to the hosts whose breaker is open, an error for
// each, which names the host.
func (b *Breakers) Failures() []error {
	var all []error
	for _, h := range b.hosts.Values() {
		if err := h.checkOpen(); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Run probes each failing host until ctx ends, then waits for the probes in flight.
// A probe without a response does not delay the others. Call it once.
func (b *Breakers) Run(ctx context.Context) error {
	var probes sync.WaitGroup
	defer probes.Wait()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for _, h := range b.hosts.Values() {
			if h.startProbe() {
				probes.Go(func() { b.probe(ctx, h) })
			}
		}
	}
}

// probe requests /v2/, to which every registry responds. A host that is not a
// registry responds with 404, which is as good.
func (b *Breakers) probe(ctx context.Context, h *host) {
	defer h.endProbe()
	ctx, cancel := context.WithTimeout(withOperation(ctx, Ping), probeTime)
	defer cancel()
	req := &http.Request{Method: http.MethodGet, URL: h.ping, Header: http.Header{"User-Agent": {userAgent}}}
	resp, err := b.send(h, req.WithContext(ctx), true)
	if err == nil {
		discard(resp)
	}
}

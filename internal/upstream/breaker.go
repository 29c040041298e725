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
)

const (
	hostFailures   = 5               // in a row
	minFailureTime = time.Second     // over at least this time, and nothing is sent to a host any more
	probeEvery     = 5 * time.Second // but a probe
	probeTime      = 9 * time.Second // for its answer, so that the next one is not missed
	maxHosts       = 64              // of one upstream that are remembered: a registry names a few
)

// BreakerOptions are those of Breakers. All are needed. The hooks are called
// under the lock of the host that they are about, and call no Breakers.
type BreakerOptions struct {
	Name   string                       // of the upstream, in errors
	URL    *url.URL                     // the registry's root, without /v2/
	Next   http.RoundTripper            // to the hosts
	Opened func(host string, err error) // nothing is sent to it from now on; err says why
	Closed func(host string)            // it has answered a probe
}

// Breakers is the transport to the hosts of one upstream: the registry, its
// token service, its storage. It has a circuit breaker for each. What is for a
// host that has failed hostFailures times in a row is refused at once, with an
// *oci.Error that says so, until the host has answered a probe of Run's: no
// client waits for a host to find out. Answers of one path count once, and when
// all failures are those of one path, a probe that fails too decides: no client
// can hold a host shut by repeating what that cannot answer. It may be used
// concurrently.
type Breakers struct {
	opts  BreakerOptions
	hosts *lru.Cache[string, *host] // by scheme and host
}

// NewBreakers returns Breakers that know of no failure. It starts nothing.
func NewBreakers(o BreakerOptions) *Breakers {
	hosts, err := lru.New[string, *host](maxHosts)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Breakers{opts: o, hosts: hosts}
}

// RoundTrip sends req unless its host is known to fail.
func (b *Breakers) RoundTrip(req *http.Request) (*http.Response, error) {
	h := b.host(req.URL)
	if err := h.checkOpen(); err != nil {
		return nil, err
	}
	return b.send(h, req, false)
}

// host returns what is known of the host of u.
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

// pathOf is what tells requests apart: links to storage are signed anew for each,
// and a token service has one path, but a scope for each repository.
func pathOf(req *http.Request) string {
	if OperationOf(req) == Token {
		return req.URL.RequestURI()
	}
	return req.URL.Path
}

var (
	errSlow         = errors.New("it did not respond in time")
	errInconclusive = errors.New("the request says nothing about the host") // whoever asked has left, or may not ask it
)

// hostFailure returns what an exchange says against its host. Nothing, when there is
// an answer below 500: limits, too, are those of a host that lives.
func hostFailure(ctx context.Context, resp *http.Response, err error) error {
	switch why := context.Cause(ctx); {
	case err == nil && resp.StatusCode < http.StatusInternalServerError:
		return nil
	case err == nil:
		return errors.New("it responded with " + resp.Status)
	case errors.Is(why, context.DeadlineExceeded), errors.Is(why, errResponseTimeout):
		return errSlow
	case why != nil, errors.Is(err, errPrivate):
		return errInconclusive
	}
	return redact(err)
}

// Failing returns to how many hosts nothing is sent.
func (b *Breakers) Failing() int {
	failing := 0
	for _, h := range b.hosts.Values() {
		if h.failing() {
			failing++
		}
	}
	return failing
}

// Run probes each host that fails, until ctx ends, and then waits for the probes
// under way. One that gets no answer holds no other up. Run once.
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

// probe asks the host for what a registry answers to everybody. A host that is
// no registry says that it has no such thing, which will do.
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

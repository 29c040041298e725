package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	hostFailures = 5                // in a row, and nothing is sent to a host any more
	probeEvery   = 5 * time.Second  // but a probe
	probeTime    = 10 * time.Second // for its answer
	maxHosts     = 64               // of one upstream that are remembered: a registry names a few
)

// BreakerOptions are those of Breakers. All are needed. The hooks are called
// under the lock of the host that they are about, and call no Breakers.
type BreakerOptions struct {
	Name   string                       // of the upstream, in errors
	Next   http.RoundTripper            // to the hosts
	Opened func(host string, err error) // nothing is sent to it from now on; err says why
	Closed func(host string)            // it has answered a probe
}

// Breakers is the transport to the hosts of one upstream: the registry, its
// token service, its storage. It has a circuit breaker for each. What is for a
// host that has failed hostFailures times in a row is refused at once, with an
// *oci.Error that says so, until the host has answered a probe of Run's: no
// client waits for a host to find out. It may be used concurrently.
type Breakers struct {
	BreakerOptions
	hosts *lru.Cache[string, *host] // by scheme and host
}

// NewBreakers returns Breakers that know of no failure. It starts nothing.
func NewBreakers(o BreakerOptions) *Breakers {
	hosts, err := lru.New[string, *host](maxHosts)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Breakers{BreakerOptions: o, hosts: hosts}
}

// RoundTrip sends req unless its host is known to fail.
func (b *Breakers) RoundTrip(req *http.Request) (*http.Response, error) {
	h := b.host(req.URL)
	done, err := h.admit()
	if err != nil {
		return nil, err
	}
	return b.send(h, req, done)
}

// host returns what is known of the host of u.
func (b *Breakers) host(u *url.URL) *host {
	key := u.Scheme + "://" + u.Host
	if h, ok := b.hosts.Get(key); ok {
		return h
	}
	h := newHost(u, &b.BreakerOptions)
	if earlier, ok, _ := b.hosts.PeekOrAdd(key, h); ok {
		return earlier
	}
	return h
}

// send sends a request that h has admitted, and settles it.
func (b *Breakers) send(h *host, req *http.Request, done func(error)) (*http.Response, error) {
	resp, err := b.Next.RoundTrip(req)
	h.settle(done, failure(req.Context(), resp, err))
	return resp, err
}

var (
	errLeft = errors.New("nobody waits for the answer any more") // which says nothing of the host
	errSlow = errors.New("it did not answer in time")
)

// failure returns what an exchange says against its host. Nothing, when there is
// an answer below 500: limits, too, are those of a host that lives.
func failure(ctx context.Context, resp *http.Response, err error) error {
	switch why := context.Cause(ctx); {
	case err == nil && resp.StatusCode < http.StatusInternalServerError:
		return nil
	case err == nil:
		return errors.New("it answered " + resp.Status)
	case errors.Is(why, context.DeadlineExceeded), errors.Is(why, errAnswerTime):
		return errSlow
	case why != nil:
		return errLeft
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
			if done, due := h.admitProbe(); due {
				probes.Go(func() { b.probe(ctx, h, done) })
			}
		}
	}
}

// probe asks the host for what a registry answers to everybody. A host that is
// no registry says that it has no such thing, which will do.
func (b *Breakers) probe(ctx context.Context, h *host, done func(error)) {
	ctx, cancel := context.WithTimeout(asking(ctx, Ping), probeTime)
	defer cancel()
	req := &http.Request{Method: http.MethodGet, URL: &h.ping, Header: http.Header{"User-Agent": {userAgent}}}
	resp, err := b.send(h, req.WithContext(ctx), done)
	if err == nil {
		discard(resp)
	}
}

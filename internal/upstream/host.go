package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// host is one host of an upstream. While it fails, only probes are sent to it.
type host struct {
	opts *BreakerOptions
	ping *url.URL // the URL that a probe requests

	mu       sync.Mutex // guards all below; held while Opened and Closed are called, and for no I/O
	open     bool       // only probes are sent
	probing  bool       // one is in flight
	lastGood time.Time  // when it last responded well
	streak   streak     // of failures since then
}

// streak is a series of failures. A host does not count as failing because of one
// path: a single bad path may be requested again and again.
type streak struct {
	count    int             // of failures; error responses count once for each path
	since    time.Time       // when the first failed request was sent
	paths    map[string]bool // that have failed, up to hostFailures
	hostWide bool            // a failure was not about a path: no connection, or no response to a ping
	lastErr  error
}

// outcome is the outcome of one request.
type outcome struct {
	sent      time.Time
	path      string // that was requested
	ping      bool   // it is the path of a probe
	connected bool   // there was a connection to the host
	responded bool   // there was a response
	failed    error  // why it counts against the host; nil: it does not
}

// newHost returns the host of u. A registry may exist only below a path of its host:
// a response at another path says nothing about it.
func newHost(u *url.URL, o *BreakerOptions) *host {
	root := &url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Scheme == o.URL.Scheme && u.Host == o.URL.Host {
		root = o.URL
	}
	return &host{opts: o, ping: apiURL(root, "", "")}
}

func (h *host) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// checkOpen returns why a client's request is not sent to the host, or nil.
func (h *host) checkOpen() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open {
		return nil
	}
	return h.refusal()
}

// startProbe reports whether to send a probe: the host fails, or one path fails and
// it is not known whether the host does. The caller calls endProbe.
func (h *host) startProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.probing || !h.open && !h.streak.longEnough(time.Now()) {
		return false
	}
	h.probing = true
	return true
}

func (h *host) endProbe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}

// record records the outcome of a request. While the host fails, only a probe counts:
// other requests were sent before that was known.
func (h *host) record(o outcome, probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open && !probe {
		return
	}
	if o.failed == nil {
		h.streak, h.lastGood = streak{}, time.Now()
		if h.open {
			h.open = false
			h.opts.Closed(h.ping.Host)
		}
		return
	}
	if o.sent.Before(h.lastGood) {
		o.sent = h.lastGood
	}
	h.streak.add(o, h.open)
	if !h.open && h.streak.longEnough(time.Now()) && h.streak.conclusive() {
		h.open = true
		h.opts.Opened(h.ping.Host, o.failed)
	}
}

// add counts a failure; each is counted once the host is known to fail.
func (s *streak) add(o outcome, known bool) {
	if s.count == 0 {
		s.since, s.paths = o.sent, make(map[string]bool)
	}
	if known || o.ping || !o.responded || !s.paths[o.path] {
		s.count++
	}
	if len(s.paths) < hostFailures {
		s.paths[o.path] = true
	}
	s.hostWide = s.hostWide || o.ping || !o.connected
	s.lastErr = o.failed
}

// longEnough reports whether there are enough failures over a long enough time.
func (s *streak) longEnough(now time.Time) bool {
	return s.count >= hostFailures && now.Sub(s.since) >= minFailureTime
}

// conclusive reports whether the failures are those of more than one path.
func (s *streak) conclusive() bool { return s.hostWide || len(s.paths) > 1 }

// errOpen marks a request that was refused without sending it to the host.
var errOpen = errors.New("no requests are sent to the host")

// refusal returns the error for a request that is not sent. The caller holds mu.
func (h *host) refusal() error {
	return &oci.Error{
		Code: oci.Unavailable,
		Message: fmt.Sprintf("%s: host %s has failed %d times in a row (last error: %v); no requests are sent to it until a probe succeeds (one every %s)",
			h.opts.Name, h.ping.Host, h.streak.count, h.streak.lastErr, probeEvery),
		Err: errOpen,
	}
}

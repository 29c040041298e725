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
	*BreakerOptions
	ping *url.URL // what a probe asks for

	mu       sync.Mutex // guards all below; held while Opened and Closed are called, and for no I/O
	open     bool       // nothing is sent but probes
	probing  bool       // one is in flight
	answered time.Time  // when it last gave a good answer
	streak   streak     // of failures since then
}

// streak are failures in a row. A host is not known to fail by one path alone:
// what a client asks for again and again may be all that fails there.
type streak struct {
	number   int             // of failures; answers count once for each path
	since    time.Time       // when the first failed request was sent
	paths    map[string]bool // that have failed, up to hostFailures
	hostwide bool            // one was no path's fault: there was no connection, or no answer to a ping
	lastFail error
}

// exchange is what came of one request.
type exchange struct {
	sent      time.Time
	path      string // what was asked for,
	ping      bool   // that is what a probe asks for
	connected bool   // there was a connection to the host
	answered  bool   // there was an answer
	failed    error  // what it says against the host; nil: nothing
}

// newHost returns the host of u. The registry may be one below a path only: what
// another path answers says nothing of it.
func newHost(u *url.URL, o *BreakerOptions) *host {
	root := &url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Scheme == o.URL.Scheme && u.Host == o.URL.Host {
		root = o.URL
	}
	return &host{BreakerOptions: o, ping: apiURL(root, "", "")}
}

func (h *host) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// refused says why a client's request is not sent to the host; nil: it is.
func (h *host) refused() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open {
		return nil
	}
	return h.refusal()
}

// admitProbe reports whether a probe is to be sent: the host fails, or one path
// does and it is not known whether the host does. Its end is for probed.
func (h *host) admitProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.probing || !h.open && !h.streak.long(time.Now()) {
		return false
	}
	h.probing = true
	return true
}

func (h *host) probed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}

// settle notes what came of a request. A request that was sent before the host
// was found to fail says nothing new when it ends: only a probe does then.
func (h *host) settle(x exchange, probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open && !probe {
		return
	}
	if x.failed == nil {
		h.streak, h.answered = streak{}, time.Now()
		if h.open {
			h.open = false
			h.Closed(h.ping.Host)
		}
		return
	}
	if x.sent.Before(h.answered) {
		x.sent = h.answered
	}
	h.streak.add(x, h.open)
	if !h.open && h.streak.long(time.Now()) && h.streak.sure() {
		h.open = true
		h.Opened(h.ping.Host, x.failed)
	}
}

// add counts a failure; each is counted once the host is known to fail.
func (s *streak) add(x exchange, known bool) {
	if s.number == 0 {
		s.since, s.paths = x.sent, make(map[string]bool)
	}
	if known || x.ping || !x.answered || !s.paths[x.path] {
		s.number++
	}
	if len(s.paths) < hostFailures {
		s.paths[x.path] = true
	}
	s.hostwide = s.hostwide || x.ping || !x.connected
	s.lastFail = x.failed
}

// long reports whether there are enough failures over enough time.
func (s *streak) long(now time.Time) bool {
	return s.number >= hostFailures && now.Sub(s.since) >= hostSpread
}

// sure reports whether the failures are those of more than one path.
func (s *streak) sure() bool { return s.hostwide || len(s.paths) > 1 }

// errOpen marks what was refused without asking the host.
var errOpen = errors.New("no requests are sent to the host")

// refusal makes the error of a request that is not sent. The caller holds mu.
func (h *host) refusal() error {
	return &oci.Error{
		Code: oci.Unavailable,
		Message: fmt.Sprintf("%s: host %s has failed %d times in a row (last error: %v); no requests are sent to it until a probe succeeds (one every %s)",
			h.Name, h.ping.Host, h.streak.number, h.streak.lastFail, probeEvery),
		Err: errOpen,
	}
}

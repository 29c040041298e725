package doctor

import (
	"context"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// reached is how far the last request of a context has come.
type reached struct {
	resolving, connected, securing, secured atomic.Bool

	mu   sync.Mutex
	host string // with its port
}

// watch returns a context whose requests are watched, redirects included.
func (r *reached) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:           r.begin,
		DNSStart:          func(httptrace.DNSStartInfo) { r.resolving.Store(true) },
		DNSDone:           func(httptrace.DNSDoneInfo) { r.resolving.Store(false) },
		ConnectDone:       r.dialed,
		TLSHandshakeStart: func() { r.securing.Store(true) },
		GotConn:           func(httptrace.GotConnInfo) { r.connected.Store(true); r.secured.Store(true) },
	})
}

// dialed notes a connection. Several addresses of a host may be dialed at once.
func (r *reached) dialed(_, _ string, err error) {
	if err == nil {
		r.connected.Store(true)
	}
}

func (r *reached) begin(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host = host
	r.resolving.Store(false)
	r.connected.Store(false)
	r.securing.Store(false)
	r.secured.Store(false)
}

// address returns the host of the last request.
func (r *reached) address() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.host
}

// inHandshake reports whether the request has come to a TLS handshake, and not through it.
func (r *reached) inHandshake() bool { return r.securing.Load() && !r.secured.Load() }

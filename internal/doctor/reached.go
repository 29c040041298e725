package doctor

import (
	"context"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// reached is how far the last request of a context has come.
type reached struct {
	connected, securing, secured atomic.Bool

	mu   sync.Mutex
	host string // with its port
}

// watch returns a context whose requests are watched, redirects included.
func (r *reached) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:           r.begin,
		ConnectDone:       func(_, _ string, err error) { r.connected.Store(err == nil || r.connected.Load()) },
		TLSHandshakeStart: func() { r.securing.Store(true) },
		GotConn:           func(httptrace.GotConnInfo) { r.connected.Store(true); r.secured.Store(true) },
	})
}

func (r *reached) begin(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host = host
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

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTime   = 10 * time.Second
	tlsTime    = 10 * time.Second
	headerTime = 15 * time.Second // for the head of an answer
	idleTime   = 30 * time.Second // for the next bytes of a body

	// A proxy or a NAT that has lost a connection does not say so. HTTP/2 asks
	// after pingAfter without a frame; a ping is answered by whoever holds the
	// connection, however long a path takes.
	pingAfter = 5 * time.Second
	pingTime  = 5 * time.Second
	// deadTime is the silence after which a connection is not used again. A
	// request that has waited so long still has time for another: see answerTime.
	deadTime = pingAfter + pingTime
)

// Transport is the way to one upstream, its token service and its storage. It
// has time-outs for all that can hang, no compression that would change bytes,
// and leads to no private address that the upstream itself is not at. A request
// whose connection turns out to be lost is sent once more over a new one; a
// connection over which no answer has come for deadTime is not used for others,
// and what still comes over it is not cut.
//
// The http.Transport may be changed before the first request. Close its idle
// connections when done. It may be used concurrently.
type Transport struct {
	*http.Transport
	guard *guard
	pool  atomic.Pointer[http.Transport] // which has the connections that are used: the Transport, later clones of it
}

// NewTransport returns the Transport for the upstream at that address.
func NewTransport(upstream *url.URL) *Transport {
	guard := newGuard(upstream)
	dialer := &net.Dialer{
		Timeout:        dialTime,
		ControlContext: guard.control,
		// Keeps NATs from forgetting connections that idle, and finds those
		// that are lost within 30 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	t := &Transport{guard: guard, Transport: &http.Transport{
		Proxy: guard.proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return guard.dial(ctx, dialer, network, address)
		},
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
		TLSHandshakeTimeout:   tlsTime,
		ResponseHeaderTimeout: headerTime,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   32,
		DisableCompression:    true,
		ReadBufferSize:        64 << 10,
	}}
	t.pool.Store(t.Transport)
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.guard.checkLiteral(req.URL); err != nil {
		return nil, err
	}
	pool := t.pool.Load()
	var a attempt
	resp, err := a.roundTrip(pool, req)
	if err != nil && a.connectionLost(req, err) {
		pool = t.replace(pool)
		if a.reused && req.Body == nil && req.Context().Err() == nil {
			resp, err = pool.RoundTrip(req)
		}
	}
	if why := context.Cause(req.Context()); why != nil && errors.Is(err, context.Canceled) {
		err = why // which says more
	}
	return resp, err
}

// replace lets no request use the connections of pool any more, and returns what
// has new ones. They are all replaced: what has lost one has lost others.
func (t *Transport) replace(pool *http.Transport) *http.Transport {
	if fresh := pool.Clone(); t.pool.CompareAndSwap(pool, fresh) {
		pool.CloseIdleConnections() // those in use are closed when they are idle
	}
	return t.pool.Load()
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.pool.Load().CloseIdleConnections() }

// attempt is one try of a request.
type attempt struct {
	mu     sync.Mutex  // guards all below
	began  time.Time   // when the connection was there; zero: it never was
	reused bool        // it was not made for this request
	bound  *time.Timer // nil: none
}

var errSilent = errors.New("no response over the idle connection")

func (a *attempt) roundTrip(pool *http.Transport, req *http.Request) (*http.Response, error) {
	ctx, end := context.WithCancelCause(req.Context())
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		a.connected(info, func() { end(errSilent) })
	}})
	resp, err := pool.RoundTrip(req.WithContext(ctx))
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && a.bound != nil && !a.bound.Stop() { // it has come too late: its body is cut
		_ = resp.Body.Close()
		resp, err = nil, errSilent
	}
	if err != nil {
		a.unbound()
		end(nil)
	}
	return resp, err
}

func (a *attempt) unbound() {
	if a.bound != nil {
		a.bound.Stop()
		a.bound = nil
	}
}

// connected notes the connection, which is another one when net/http tries again
// by itself. HTTP/1.1 has no pings: one that has idled is given up earlier than a
// new one.
func (a *attempt) connected(info httptrace.GotConnInfo, giveUp func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unbound()
	a.began, a.reused = time.Now(), info.Reused
	if info.WasIdle && info.IdleTime >= pingAfter && !isHTTP2(info.Conn) {
		a.bound = time.AfterFunc(deadTime, giveUp)
	}
}

func isHTTP2(conn net.Conn) bool {
	over, ok := conn.(*tls.Conn)
	return ok && over.ConnectionState().NegotiatedProtocol == "h2"
}

// streamError has the fields of golang.org/x/net/http2's StreamError, by which
// net/http's own, which has no exported name, lets itself be found.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprint("HTTP/2 stream error ", e.Code) }

// connectionLost reports whether an attempt that has failed with err says that the
// connection is lost: nothing has come for deadTime, or it failed under a request
// that nobody ended. A server that resets one stream is there.
func (a *attempt) connectionLost(req *http.Request, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	var reset streamError
	if a.began.IsZero() || errors.As(err, &reset) {
		return false
	}
	return time.Since(a.began) >= deadTime || a.reused && req.Context().Err() == nil
}

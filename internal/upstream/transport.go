package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTime   = 10 * time.Second
	tlsTime    = 10 * time.Second
	headerTime = 15 * time.Second // for the response header
	idleTime   = 30 * time.Second // for the next bytes of a body

	// A proxy or a NAT that has lost a connection does not report it. HTTP/2 sends a
	// ping after pingAfter without a frame; the ping is answered by the peer of the
	// connection, however long a path takes.
	pingAfter = 5 * time.Second
	pingTime  = 5 * time.Second
	// deadTime is the silence after which a connection is not used again. A request
	// that has waited this long still has time for another one: see responseTimeout.
	deadTime = pingAfter + pingTime
)

// Transport is the HTTP transport to one upstream, its token service and its storage.
// It has a timeout for everything that can hang, requests no compression, which would
// change bytes, and reaches no private address unless the upstream itself is there. A
// request whose connection turns out to be lost is sent once more over a new one. A
// connection without a response for deadTime is not used for other requests; what
// still arrives over it is not cut off.
//
// The http.Transport may be changed before the first request. Close its idle
// connections when done. It may be used concurrently.
type Transport struct {
	*http.Transport
	guard *guard
	pool  atomic.Pointer[http.Transport] // with the connections in use: the Transport, later clones of it
}

// TransportOptions are those of a Transport. Only URL is required.
type TransportOptions struct {
	URL             *url.URL                              // of the upstream
	TLS             *tls.Config                           // nil: the certificates of the system
	Proxy           func(*http.Request) (*url.URL, error) // nil: that of the environment
	PrivateNetworks []netip.Prefix                        // that redirects may lead to, wherever the upstream is
	ConnectTimeout  time.Duration                         // 0: 10 s, for TCP and TLS each
	ResponseTimeout time.Duration                         // 0: 15 s, for the response header

	// ClientCertificate returns what the mirror identifies itself with, to the upstream
	// and to its token service; nil: it does not.
	ClientCertificate func() (*tls.Certificate, error)
	TokenHosts        []string // as in Options
}

// NewTransport returns the Transport for an upstream.
func NewTransport(o TransportOptions) *Transport {
	guard := newGuard(o.URL)
	guard.allowed = o.PrivateNetworks
	if o.Proxy != nil {
		guard.findProxy = o.Proxy
	}
	dialer := &net.Dialer{
		Timeout:        cmp.Or(o.ConnectTimeout, dialTime),
		ControlContext: guard.control,
		// Keeps NATs from forgetting idle connections, and detects lost ones within
		// 30 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	t := &Transport{guard: guard, Transport: &http.Transport{
		Proxy: guard.proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return guard.dial(ctx, dialer, network, address)
		},
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
		TLSClientConfig:       identifying(o),
		TLSHandshakeTimeout:   cmp.Or(o.ConnectTimeout, tlsTime),
		ResponseHeaderTimeout: cmp.Or(o.ResponseTimeout, headerTime),
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
	req = req.WithContext(withDialled(req.Context(), req.URL))
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
		err = why // which is more specific
	}
	return resp, err
}

// replace stops using the connections of pool and returns a pool with new ones. All
// are replaced: a network that has lost one has lost others.
func (t *Transport) replace(pool *http.Transport) *http.Transport {
	if fresh := pool.Clone(); t.pool.CompareAndSwap(pool, fresh) {
		pool.CloseIdleConnections() // those in use are closed when they become idle
	}
	return t.pool.Load()
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.pool.Load().CloseIdleConnections() }

// attempt is one attempt of a request.
type attempt struct {
	mu     sync.Mutex  // guards all below
	began  time.Time   // when the connection was made; zero: it never was
	reused bool        // it was not opened for this request
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
	if err == nil && a.bound != nil && !a.bound.Stop() { // the response is too late: its body is cut off
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

// connected notes the connection, which changes when net/http retries by itself.
// HTTP/1.1 has no pings: a connection that was idle is given up earlier than a new
// one.
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

// streamError has the fields of golang.org/x/net/http2's StreamError, so that
// errors.As finds net/http's own, which has no exported name.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprint("HTTP/2 stream error ", e.Code) }

// connectionLost reports whether the failure of an attempt means that the connection
// is lost: nothing has arrived for deadTime, or it failed under a request that was
// not canceled. A server that resets one stream is alive.
func (a *attempt) connectionLost(req *http.Request, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	var reset streamError
	if a.began.IsZero() || errors.As(err, &reset) {
		return false
	}
	return time.Since(a.began) >= deadTime || a.reused && req.Context().Err() == nil
}

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

const (
	dialTime   = 10 * time.Second
	tlsTime    = 10 * time.Second
	headerTime = 15 * time.Second // for the head of an answer
	idleTime   = 30 * time.Second // for the next bytes of a body
	maxHops    = 10               // redirects followed
)

// NewTransport returns the transport for one upstream: time-outs for all that
// can hang, no compression that would change bytes, and no connection to a
// private address that the upstream itself is not at. Close its idle
// connections when done.
func NewTransport(upstream *url.URL) *http.Transport {
	guard := &guard{upstream: hostPort(upstream), proxies: make(map[string]bool)}
	dialer := &net.Dialer{Timeout: dialTime, ControlContext: guard.control}
	return &http.Transport{
		Proxy: guard.proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return guard.dial(ctx, dialer, network, address)
		},
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   tlsTime,
		ResponseHeaderTimeout: headerTime,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   32,
		DisableCompression:    true,
		ReadBufferSize:        64 << 10,
	}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// guard keeps redirects and token services from leading into the network that
// the mirror stands in. It checks addresses when they are dialled, so a name
// that resolves to a private one does not help.
type guard struct {
	upstream string // host:port

	mu      sync.Mutex // guards all below
	proxies map[string]bool
	private bool // the upstream itself was met at a private address
}

// proxy is http.ProxyFromEnvironment; a proxy that the operator named may be
// anywhere.
func (g *guard) proxy(req *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if proxy != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.proxies[hostPort(proxy)] = true
	}
	return proxy, err
}

// anywhere is the context key of a dial that may lead to any address.
type anywhere struct{}

func (g *guard) dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	g.mu.Lock()
	trusted := address == g.upstream || g.proxies[address] || g.private
	g.mu.Unlock()
	conn, err := d.DialContext(context.WithValue(ctx, anywhere{}, trusted), network, address)
	if err == nil && address == g.upstream {
		g.met(conn.RemoteAddr())
	}
	return conn, err
}

// met notes where the upstream is.
func (g *guard) met(remote net.Addr) {
	tcp, ok := remote.(*net.TCPAddr)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.private = ok && isPrivate(tcp.AddrPort().Addr())
}

var errPrivate = errors.New("the upstream leads to a private address and is not at one itself")

func (g *guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if trusted, _ := ctx.Value(anywhere{}).(bool); trusted {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if isPrivate(at.Addr()) {
		return fmt.Errorf("%w: %s", errPrivate, at.Addr())
	}
	return nil
}

// sharedSpace is the carrier-grade NAT space of RFC 6598.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || sharedSpace.Contains(a)
}

// redirects returns the rule for redirects of an upstream: https only (http
// when the upstream itself is http), at most maxHops, and to another host
// nothing that is not for it.
func redirects(upstream *url.URL) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) > maxHops {
			return fmt.Errorf("%w: more than %d of them", errRedirect, maxHops)
		}
		if req.URL.Scheme != "https" && req.URL.Scheme != upstream.Scheme {
			return fmt.Errorf("%w: %s://%s does not speak https", errRedirect, req.URL.Scheme, req.URL.Host)
		}
		if err := checkLiteral(upstream, req.URL); err != nil {
			return err
		}
		if req.URL.Host != upstream.Host {
			// Accept is asked for with manifests only: some registries
			// redirect them, and without it they would be translated.
			req.Header = onlyFor(req.Header, "Range", "User-Agent", "Accept-Encoding", "Accept")
		}
		return nil
	}
}

// errRedirect says that a redirect is not followed.
var errRedirect = errors.New("the upstream's redirect is refused")

// checkLiteral refuses a private address in the address itself: behind a proxy
// nobody dials it here.
func checkLiteral(upstream, u *url.URL) error {
	at, err := netip.ParseAddr(u.Hostname())
	if err != nil || !isPrivate(at) {
		return nil
	}
	if home, err := netip.ParseAddr(upstream.Hostname()); err == nil && isPrivate(home) {
		return nil
	}
	if upstream.Hostname() == "localhost" {
		return nil
	}
	return fmt.Errorf("%w: %s", errPrivate, at)
}

func onlyFor(h http.Header, names ...string) http.Header {
	kept := make(http.Header, len(names))
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			kept[name] = values
		}
	}
	return kept
}

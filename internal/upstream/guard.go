package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode"
)

// guard keeps redirects and token services from leading into the mirror's own
// network: they reach no further into it than the upstream itself is. Addresses are
// checked when they are dialled, which covers names that resolve to a private one.
// Literal addresses are checked before that, because behind a proxy the mirror does
// not dial them itself.
type guard struct {
	upstream  string                                // host:port
	allowed   []netip.Prefix                        // further private networks, by the operator
	findProxy func(*http.Request) (*url.URL, error) // may be at any address

	mu      sync.Mutex // guards all below
	proxies map[string]bool
	home    netip.Addr // address of the upstream when last dialled; invalid: not yet, or behind a proxy
}

func newGuard(upstream *url.URL) *guard {
	g := &guard{upstream: hostPort(upstream), findProxy: http.ProxyFromEnvironment, proxies: make(map[string]bool)}
	g.home, _ = netip.ParseAddr(upstream.Hostname()) // a name is resolved when it is dialled
	if upstream.Hostname() == "localhost" {
		g.home = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return g
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// proxy is findProxy, and notes the address of the proxy.
func (g *guard) proxy(req *http.Request) (*url.URL, error) {
	proxy, err := g.findProxy(req)
	if proxy != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.proxies[hostPort(proxy)] = true
	}
	return proxy, err
}

// trustedKey is the context key of a dial that may lead to any address.
type trustedKey struct{}

func (g *guard) dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	g.mu.Lock()
	trusted := address == g.upstream || g.proxies[address]
	g.mu.Unlock()
	conn, err := d.DialContext(context.WithValue(ctx, trustedKey{}, trusted), network, address)
	if err == nil && address == g.upstream {
		g.recordUpstream(conn.RemoteAddr())
	}
	return conn, err
}

// recordUpstream notes where the upstream is.
func (g *guard) recordUpstream(remote net.Addr) {
	if tcp, ok := remote.(*net.TCPAddr); ok {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.home = tcp.AddrPort().Addr()
	}
}

func (g *guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if trusted, _ := ctx.Value(trustedKey{}).(bool); trusted {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return g.check(at.Addr())
}

// legacyAddress is an IPv4 address in a form that inet_aton accepts and netip does
// not: 127.1, 0x7f000001. No public name ends with a number.
var legacyAddress = regexp.MustCompile(`^(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$`)

// checkLiteral checks a host that is an address and not a name.
func (g *guard) checkLiteral(u *url.URL) error {
	if hostPort(u) == g.upstream {
		return nil
	}
	host := u.Hostname()
	at, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return g.check(at)
	case legacyAddress.MatchString(host), !isASCII(host):
		return fmt.Errorf("%w: %s", errPrivate, host)
	}
	return nil
}

// isASCII reports whether all of host is ASCII, as a URL demands. net/http takes
// full-width digits and dots for those of an address, and names that to a proxy.
func isASCII(host string) bool {
	return strings.IndexFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

var errPrivate = errors.New("the upstream leads to a private address, which is not allowed")

// check refuses an address that is further inside than the upstream.
func (g *guard) check(at netip.Addr) error {
	g.mu.Lock()
	home := g.home
	g.mu.Unlock()
	switch {
	case mayReach(home, at), g.isAllowed(at):
		return nil
	case home.IsValid():
		return fmt.Errorf("%w: to %s from %s", errPrivate, at, home)
	}
	return fmt.Errorf("%w: to %s, and a proxy hides the upstream's own address (if both are in this network, name them in NO_PROXY, or list its network under private_networks)", errPrivate, at)
}

// isAllowed reports whether the operator allows an address. The local link and the
// addresses of metadata services cannot be allowed.
func (g *guard) isAllowed(at netip.Addr) bool {
	at = ipv4Of(at.WithZone(""))
	if area := areaOf(at); area != private && area != loopback {
		return false
	}
	return slices.ContainsFunc(g.allowed, func(p netip.Prefix) bool { return p.Contains(at) })
}

// The classes of addresses, which differ in which upstreams may lead there.
type area int

const (
	public    area = iota
	private        // private: RFC 1918, 4193, 6598 and 8215
	loopback       // the mirror's own host
	linkLocal      // the local link, where cloud metadata is
	forbidden      // multicast, unspecified, metadata elsewhere: no registry's storage
)

var (
	// extraPrivate are private spaces that netip does not count as such: carrier-grade
	// NAT (RFC 6598), a network's own NAT64 (RFC 8215) and site-local addresses.
	extraPrivate = []netip.Prefix{
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("fec0::/10"),
	}
	// nat64 is the prefix of IPv4 addresses that a NAT64 leads to: RFC 6052.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// ipv4Of returns the IPv4 address that the IPv6 address a embeds, or a.
func ipv4Of(a netip.Addr) netip.Addr {
	if nat64.Contains(a) {
		bytes := a.As16()
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return a.Unmap()
}

// metadata are the addresses of cloud metadata services that are not link-local:
// Amazon's, Google's, Alibaba's, Oracle's and Azure's. They hand out credentials.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true,
	netip.MustParseAddr("fd20:ce::254"):    true,
	netip.MustParseAddr("100.100.100.200"): true,
	netip.MustParseAddr("192.0.0.192"):     true,
	netip.MustParseAddr("168.63.129.16"):   true,
}

func areaOf(a netip.Addr) area {
	a = ipv4Of(a.WithZone(""))
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case !a.IsValid(), metadata[a]:
		return forbidden
	case a.IsLoopback():
		return loopback
	case a.IsLinkLocalUnicast():
		return linkLocal
	case a.IsPrivate(), slices.ContainsFunc(extraPrivate, contains):
		return private
	case a.IsGlobalUnicast():
		return public
	}
	return forbidden
}

// mayReach reports whether an upstream at home may lead to an address. An upstream in
// a private network may lead to any address in private networks, as Harbor leads to
// its MinIO; loopback and link-local addresses are reached only from there.
func mayReach(home, to netip.Addr) bool {
	from := areaOf(home)
	switch areaOf(to) {
	case public:
		return true
	case private:
		return from == private || from == loopback || from == linkLocal
	case loopback:
		return from == loopback
	case linkLocal:
		return from == linkLocal
	}
	return false
}

package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/BurntSushi/toml"
)

// Served is what the clients of a mirror have to know.
type Served struct {
	Listeners []Listener `json:"listeners"`
	Upstreams []string   `json:"upstreams"` // by name; the first is the one of requests that name none

	Aliases map[string]string `json:"aliases,omitempty"` // other names of upstreams, and which they are of
}

// upstream returns the upstream of that name or alias.
func (s Served) upstream(name string) (upstream string, ok bool) {
	if alias, ok := s.Aliases[name]; ok {
		return alias, true
	}
	return name, slices.Contains(s.Upstreams, name)
}

// byDefault returns the upstream that a request to l is for when its repository names none;
// empty if there is none.
func (s Served) byDefault(l Listener) string {
	if l.Upstream == "" && len(s.Upstreams) > 0 {
		return s.Upstreams[0]
	}
	return l.Upstream
}

// Listener is where a mirror serves clients.
type Listener struct {
	Address  string `json:"address"` // host:port, as in listen
	TLS      bool   `json:"tls"`
	Upstream string `json:"upstream,omitempty"` // the only one; empty: all
}

// Clients checks whether Docker, containerd and podman on this host are configured for the
// mirror, by their files below root, which is / but in tests. It changes nothing. What is not
// configured is no mistake: the mirror may be for others.
func Clients(ctx context.Context, root string, s Served) []Check {
	if len(s.Upstreams) == 0 {
		return nil // of a mirror of another version
	}
	ctx, cancel := context.WithTimeout(ctx, lookupsTimeout)
	defer cancel()
	h := host{ctx: ctx, root: root, served: s}
	return []Check{h.docker(), h.containerd(), h.podman()}
}

// host is this host with its files.
type host struct {
	ctx    context.Context
	root   string
	served Served
}

func (h host) path(name string) string { return filepath.Join(h.root, name) }

// read returns a file; absent says that there is none. It fails with fs.ErrPermission when
// this user may not read it.
func (h host) read(name string) (raw []byte, absent string, err error) {
	raw, err = os.ReadFile(h.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there is no " + name, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, "", fmt.Errorf("%s cannot be read by this user: %w", name, fs.ErrPermission)
	}
	return raw, "", err
}

// invalid is the check of a file of a client that is invalid because of err, or cannot be
// read, which says nothing about the client.
func invalid(what, file string, err error, hint string) Check {
	if errors.Is(err, fs.ErrPermission) {
		return Check{what, Info, file + " cannot be read by this user", "run this as root"}
	}
	return Check{what, Warn, fmt.Sprintf("%s is invalid: %v", file, err), hint}
}

// notConfigured is the check of a client that does not know the mirror.
func notConfigured(what, client, why string) Check {
	return Check{what, Info, "not configured: " + why, "if it should pull through the mirror: sudo mirrord client-config " + client + " --install"}
}

// find returns the listener that address, a host with or without a port, leads to.
func (h host) find(address, scheme string) (Listener, bool) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		name, port = strings.Trim(address, "[]"), map[string]string{"http": "80"}[scheme]
	}
	port = cmp.Or(port, "443")
	here := sync.OnceValue(func() []netip.Addr { return slices.DeleteFunc(h.addresses(name), isForeign) })
	for _, l := range h.served.Listeners {
		at, p, err := net.SplitHostPort(l.Address)
		if err == nil && p == port && slices.ContainsFunc(here(), h.accepts(at)) {
			return l, true
		}
	}
	return Listener{}, false
}

// accepts returns whether a listener at a host, as in listen, accepts connections to an
// address of this host.
func (h host) accepts(at string) func(netip.Addr) bool {
	if at == "" {
		return func(netip.Addr) bool { return true }
	}
	own := h.addresses(at)
	return func(to netip.Addr) bool {
		return slices.ContainsFunc(own, func(a netip.Addr) bool {
			return a == to || a == netip.IPv6Unspecified() || a == netip.IPv4Unspecified() && to.Is4()
		})
	}
}

const (
	lookupTimeout  = 2 * time.Second // of one name
	lookupsTimeout = 10 * time.Second
)

// addresses returns those of name, a host; none when it is not resolved.
func (h host) addresses(name string) []netip.Addr {
	if name == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address.Unmap()}
	}
	if strings.Contains(name, "@") { // a login, which is not for the DNS
		return nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, lookupTimeout)
	defer cancel()
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if own, _ := os.Hostname(); len(found) == 0 && own != "" && strings.EqualFold(name, own) {
		found = slices.DeleteFunc(interfaceAddresses(), netip.Addr.IsLoopback) // as nss-myhostname resolves it
	}
	for i, address := range found {
		found[i] = address.Unmap()
	}
	return found
}

// isForeign reports whether no interface of this host has that address.
func isForeign(address netip.Addr) bool {
	return !address.IsLoopback() && !slices.Contains(interfaceAddresses(), address)
}

// interfaceAddresses returns the addresses of this host.
func interfaceAddresses() (own []netip.Addr) {
	interfaces, _ := net.InterfaceAddrs()
	for _, a := range interfaces {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap())
		}
	}
	return own
}

// parseTOML reads raw into value. Its errors quote nothing of it, which may be a password.
func parseTOML(raw []byte, value any) error {
	err := toml.Unmarshal(raw, value)
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not TOML in line %d", syntax.Position.Line)
	}
	if err != nil {
		return errors.New("a setting has another type than it should")
	}
	return nil
}

// wrongScheme says what is wrong with a URL that leads to l, or nothing.
func wrongScheme(u *url.URL, l Listener) (detail, hint string) {
	switch {
	case l.TLS && u.Scheme == "http":
		return fmt.Sprintf("%s is named, and the mirror speaks TLS there", shown(u.String())), "write https instead of http"
	case !l.TLS && u.Scheme == "https":
		return fmt.Sprintf("%s is named, and the mirror speaks plain HTTP there", shown(u.String())), "write http instead of https, or give the mirror a certificate (tls)"
	}
	return "", ""
}

// shown is an address as it is printed: one with a login may be a secret.
func shown(address string) string {
	if strings.Contains(address, "@") {
		return "an address with a login"
	}
	return fmt.Sprintf("%.200q", address)
}

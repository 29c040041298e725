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

// read returns a file; absent says that there is none, or that it cannot be read.
func (h host) read(name string) (raw []byte, absent string, err error) {
	raw, err = os.ReadFile(h.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there is no " + name, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, name + " cannot be read by this user", nil
	}
	return raw, "", err
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
	for _, l := range h.served.Listeners {
		if _, p, err := net.SplitHostPort(l.Address); err == nil && p == port && h.isHere(name) {
			return l, true
		}
	}
	return Listener{}, false
}

const (
	lookupTimeout  = 2 * time.Second // of one name
	lookupsTimeout = 10 * time.Second
)

// isHere reports whether name, a host, is this one.
func (h host) isHere(name string) bool {
	own, _ := os.Hostname()
	if name == "localhost" || own != "" && strings.EqualFold(name, own) {
		return true
	}
	if address, err := netip.ParseAddr(name); err == nil {
		return isOwn(address)
	}
	if strings.Contains(name, "@") { // a login, which is not for the DNS
		return false
	}
	ctx, cancel := context.WithTimeout(h.ctx, lookupTimeout)
	defer cancel()
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name) // one that is not resolved is not here
	return slices.ContainsFunc(found, isOwn)
}

// isOwn reports whether an interface of this host has that address.
func isOwn(address netip.Addr) bool {
	address = address.Unmap()
	if address.IsLoopback() {
		return true
	}
	interfaces, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(interfaces, func(a net.Addr) bool {
		own, err := netip.ParsePrefix(a.String())
		return err == nil && own.Addr().Unmap() == address
	})
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

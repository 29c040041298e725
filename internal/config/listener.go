package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Listener is one address that serves the registry.
type Listener struct {
	Address  string // host:port
	Upstream string // the only one that it serves; empty: all
	TLS      TLS
	ACME     ACME // at most one of TLS and ACME is set; neither: plain HTTP
	Auth     Auth // zero: everybody is let in

	ProxyProtocol bool // connections of trusted proxies begin with a header that names the client
}

// TLS are files in PEM form.
type TLS struct {
	CertFile     string
	KeyFile      string
	ClientCAFile string // empty: clients need no certificate
}

var tlsTable = table[TLS]{
	scalar("cert_file", parsePath, func(t *TLS) *string { return &t.CertFile }).
		required("has no cert_file; write the file with the certificate"),
	scalar("key_file", parsePath, func(t *TLS) *string { return &t.KeyFile }).
		required("has no key_file; write the file with the key of the certificate"),
	scalar("client_ca_file", parsePath, func(t *TLS) *string { return &t.ClientCAFile }),
}

var listeners = list[Listener]{
	table: table[Listener]{
		scalar("address", parseAddress, func(l *Listener) *string { return &l.Address }).
			required("has no address; write host:port, such as 0.0.0.0:5002"),
		scalar("upstream", parseAlias, func(l *Listener) *string { return &l.Upstream }),
		group("tls", tlsTable, func(l *Listener) *TLS { return &l.TLS }),
		group("acme", acmeTable, func(l *Listener) *ACME { return &l.ACME }),
		authOf(func(l *Listener) *Auth { return &l.Auth }),
		scalar("proxy_protocol", parseFlag, func(l *Listener) *yes { return (*yes)(&l.ProxyProtocol) }),
	},
	short: "address",
	check: checkListener,
}

const (
	listenKey        = "listen"
	listenersKey     = "listeners"
	adminListenKey   = "admin.listen"
	metricsListenKey = "metrics.listen"
)

// finishListeners applies listen, the short form of one listener, and checks that each
// upstream exists and that no address is used twice.
func (l *loader) finishListeners() {
	c := l.config
	if _, set := l.origins[listenKey]; !set && len(c.Listeners) > 0 {
		c.Listen = ""
	}
	used := make(map[string]string) // by address: the setting
	l.useAddress(used, c.Listen, listenKey, listenKey)
	for i, listener := range c.Listeners {
		name := fmt.Sprintf("%s[%d]", listenersKey, i)
		l.useAddress(used, listener.Address, name, listenersKey)
		if listener.ProxyProtocol && len(c.Clients.TrustedProxies) == 0 {
			l.problem(l.origins[listenersKey], "%s has proxy_protocol, but there is no proxy to accept it from; write its address as clients.trusted_proxies", name)
		}
		known := slices.IndexFunc(c.Upstreams, func(u Upstream) bool { return slices.Contains(u.names(), listener.Upstream) })
		if known >= 0 {
			c.Listeners[i].Upstream = c.Upstreams[known].Name
		} else if listener.Upstream != "" {
			l.problem(l.origins[listenersKey], "%s is for %s, which is not among upstreams; add it there", name, listener.Upstream)
		}
	}
	l.useAddress(used, c.Admin.Listen, adminListenKey, adminListenKey)
	l.useAddress(used, "unix:"+c.Admin.Socket, adminSocketKey, adminSocketKey)
	l.useAddress(used, c.Metrics.Listen, metricsListenKey, metricsListenKey)
}

// useAddress notes that the setting name, which is set by key, uses an address.
func (l *loader) useAddress(used map[string]string, address, name, key string) {
	other, taken := used[address]
	used[address] = name
	if _, port, _ := net.SplitHostPort(address); !taken || strings.Trim(port, "0") == "" {
		return
	}
	at, ok := l.origins[key]
	if !ok {
		otherKey, _, _ := strings.Cut(other, "[")
		at = l.origins[otherKey]
	}
	l.problem(at, "%s is the address of both %s and %s; give each its own", address, other, name)
}

// AllListeners returns that of listen, if there is one, and the others.
func (c *Config) AllListeners() []Listener {
	if c.Listen == "" {
		return c.Listeners
	}
	return append([]Listener{{Address: c.Listen}}, c.Listeners...)
}

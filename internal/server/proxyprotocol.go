package server

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyHeaderTime is how long a proxy may take for the header, which it sends at once.
const proxyHeaderTime = 5 * time.Second

// ProxyProtocol returns a listener like l on which connections from the trusted networks
// begin with a header of the PROXY protocol, version 1 or 2; their RemoteAddr is the
// client that it names. RemoteAddr therefore waits for the header, and must not be called
// where connections are accepted. Without a valid header the connection fails, and
// failed is called: who guesses whether there is one lets a client write it. Other
// connections are those of l.
func ProxyProtocol(l net.Listener, trusted []netip.Prefix, failed func(proxy net.Addr, err error)) net.Listener {
	policy := func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		if isTrusted(o.Upstream, trusted) {
			return proxyproto.REQUIRE, nil
		}
		return proxyproto.SKIP, nil
	}
	return &proxyListener{failed: failed, Listener: proxyproto.Listener{
		Listener: l, ConnPolicy: policy, ValidateHeader: checkProxyHeader, ReadHeaderTimeout: proxyHeaderTime,
	}}
}

func isTrusted(peer net.Addr, trusted []netip.Prefix) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(trusted, func(network netip.Prefix) bool { return network.Contains(address) })
}

// checkProxyHeader accepts clients of TCP, and connections of the proxy itself, such as
// health checks.
func checkProxyHeader(h *proxyproto.Header) error {
	if _, ok := h.SourceAddr.(*net.TCPAddr); ok || h.SourceAddr == nil || h.Command.IsLocal() {
		return nil
	}
	return fmt.Errorf("the PROXY header names %v, which is not a client of TCP", h.SourceAddr)
}

type proxyListener struct {
	proxyproto.Listener
	failed func(net.Addr, error)
}

func (l *proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if c, ok := conn.(*proxyproto.Conn); ok {
		return &proxiedConn{Conn: c, failed: l.failed}, nil
	}
	return conn, err
}

// proxiedConn reports a missing or invalid header. It has the ReadFrom of its Conn, by
// which the kernel sends files.
type proxiedConn struct {
	*proxyproto.Conn
	failed func(net.Addr, error)
	report sync.Once
}

func (c *proxiedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.ProxyHeader() == nil {
		c.report.Do(func() { c.failed(c.RemoteAddr(), err) })
	}
	return n, err
}

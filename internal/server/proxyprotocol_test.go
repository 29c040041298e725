package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// serveProxied serves the address of the client behind ProxyProtocol, and returns its
// address and a count of failed headers.
func serveProxied(t *testing.T, trusted string, config *tls.Config, wrap func(net.Listener) net.Listener, handler http.Handler) (address string, failed *atomic.Int32) {
	t.Helper()
	l, err := Listen("127.0.0.1:0", "listen")
	check(t, err)
	failed = new(atomic.Int32)
	proxied := ProxyProtocol(wrap(CutSlow(l)), []netip.Prefix{netip.MustParsePrefix(trusted)}, func(net.Addr, error) { failed.Add(1) })
	s := New(proxied, Options{Handler: handler, TLS: config, ErrorLog: log.New(io.Discard, "", 0)})
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		check(t, s.Close())
		check(t, <-done)
	})
	return l.Addr().String(), failed
}

func unwrapped(l net.Listener) net.Listener { return l }

func tellClient(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }

// proxyHeader returns a header for a client.
func proxyHeader(t *testing.T, version byte, client net.Addr) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, client, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 80), Port: 80})
	raw, err := h.Format()
	check(t, err)
	return string(raw)
}

const plainRequest = "GET / HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"

// exchange sends text and returns the body of the response; empty when there is none, or
// another status than 200.
func exchange(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	_, _ = io.WriteString(conn, text) // that it was closed is told by the response
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(body)
}

// The header of a trusted proxy names the client; it must be there, and nobody else's
// is accepted.
func TestProxyProtocol(t *testing.T) {
	client := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}
	client6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4711}
	v1, v2 := proxyHeader(t, 1, client), proxyHeader(t, 2, client)
	local, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}).Format()
	check(t, err)
	unix, err := (&proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UnixStream,
		SourceAddr: &net.UnixAddr{Name: "/a", Net: "unix"}, DestinationAddr: &net.UnixAddr{Name: "/b", Net: "unix"}}).Format()
	check(t, err)
	trusted, failed := serveProxied(t, "127.0.0.0/8", nil, unwrapped, http.HandlerFunc(tellClient))
	stranger, none := serveProxied(t, "10.0.0.0/8", nil, unwrapped, http.HandlerFunc(tellClient))
	for name, test := range map[string]struct {
		address, text string
		want          string // what the address begins with; empty: refused
	}{
		"version 1":           {trusted, v1 + plainRequest, "203.0.113.9:4711"},
		"version 2":           {trusted, v2 + plainRequest, "203.0.113.9:4711"},
		"IPv6":                {trusted, proxyHeader(t, 1, client6) + plainRequest, "[2001:db8::7]:4711"},
		"unknown":             {trusted, "PROXY UNKNOWN\r\n" + plainRequest, "127.0.0.1:"},
		"of the proxy itself": {trusted, string(local) + plainRequest, "127.0.0.1:"},
		"a path":              {trusted, string(unix) + plainRequest, ""},
		"none":                {trusted, plainRequest, ""},
		"two":                 {trusted, v1 + v1 + plainRequest, ""},
		"garbage":             {trusted, "PROXY TCP4 a b c d\r\n" + plainRequest, ""},
		"a stranger's":        {stranger, v1 + plainRequest, ""},
		"a stranger's none":   {stranger, plainRequest, "127.0.0.1:"},
	} {
		conn, err := net.Dial("tcp", test.address)
		check(t, err)
		if got := exchange(t, conn, test.text); (got == "") != (test.want == "") || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: client %q, want %q", name, got, test.want)
		}
		_ = conn.Close()
	}
	if failed.Load() != 3 || none.Load() != 0 {
		t.Errorf("%d and %d failed headers reported, want 3 and 0", failed.Load(), none.Load())
	}
}

// A listener on all addresses has those of IPv4 in the form of IPv6.
func TestIsTrusted(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/64")}
	for peer, want := range map[string]bool{"10.0.0.1": true, "::ffff:10.0.0.1": true, "192.0.2.1": false, "fe80::1%eth0": true} {
		address := netip.MustParseAddr(peer)
		if got := isTrusted(&net.TCPAddr{IP: address.WithZone("").AsSlice(), Zone: address.Zone()}, trusted); got != want {
			t.Errorf("%s: %v", peer, got)
		}
	}
	if isTrusted(&net.UnixAddr{}, trusted) {
		t.Error("a socket is trusted")
	}
}

// The header comes before the TLS handshake.
func TestProxyProtocolBelowTLS(t *testing.T) {
	a := newAuthority(t)
	files := filesIn(t.TempDir())
	a.write(t, "mirror", files)
	certificate, err := LoadCertificate(files, func(err error) { t.Error(err) })
	check(t, err)
	address, _ := serveProxied(t, "127.0.0.0/8", certificate.Config(), unwrapped, http.HandlerFunc(tellClient))
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	conn, err := net.Dial("tcp", address)
	check(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, proxyHeader(t, 2, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}))
	check(t, err)
	if got := exchange(t, tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}), plainRequest); got != "203.0.113.9:4711" {
		t.Errorf("client %q", got)
	}
}

// A proxy that sends nothing keeps nobody else waiting.
func TestSilentProxyBlocksNobody(t *testing.T) {
	address, _ := serveProxied(t, "127.0.0.0/8", nil, unwrapped, http.HandlerFunc(tellClient))
	for range 5 {
		silent, err := net.Dial("tcp", address)
		check(t, err)
		defer func() { _ = silent.Close() }()
	}
	conn, err := net.Dial("tcp", address)
	check(t, err)
	defer func() { _ = conn.Close() }()
	check(t, conn.SetDeadline(time.Now().Add(proxyHeaderTime-time.Second)))
	if exchange(t, conn, proxyHeader(t, 1, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 1})+plainRequest) == "" {
		t.Error("not served")
	}
}

// sentFiles notes what the connections of a listener are given to send.
type sentFiles struct {
	net.Listener
	files *atomic.Int32
}

type sentFilesConn struct {
	*progressConn
	files *atomic.Int32
}

func (l sentFiles) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sentFilesConn{conn.(*progressConn), l.files}, nil
}

func (c *sentFilesConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			c.files.Add(1)
		}
	}
	return c.progressConn.ReadFrom(r)
}

// A file gets to the connection below as a file, which the kernel sends.
func TestProxyProtocolKeepsSendfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blob")
	check(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	files := new(atomic.Int32)
	for name, trusted := range map[string]string{"proxied": "127.0.0.0/8", "others": "10.0.0.0/8"} {
		files.Store(0)
		address, _ := serveProxied(t, trusted, nil, func(l net.Listener) net.Listener { return sentFiles{l, files} },
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
		header := ""
		if name == "proxied" {
			header = proxyHeader(t, 1, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 1})
		}
		conn, err := net.Dial("tcp", address)
		check(t, err)
		if body := exchange(t, conn, header+plainRequest); len(body) != 1<<20 || files.Load() != 1 {
			t.Errorf("%s: %d bytes, %d files", name, len(body), files.Load())
		}
		_ = conn.Close()
	}
}

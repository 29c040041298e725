package security

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/stack"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

const maxSize = 16 << 20 // of a cache

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	check(t, err)
	return u
}

// upstreamOf is an upstream at that address of the internet. What is not for the hosts
// in proxied is dialled by the mirror itself; none: nothing is.
func upstreamOf(t *testing.T, i *internet, name, address string, proxied ...string) stack.Upstream {
	t.Helper()
	u := parse(t, address)
	transport := upstream.NewTransport(upstream.TransportOptions{URL: u, TLS: i.ca.client(), Proxy: i.route(proxied...)})
	t.Cleanup(transport.CloseIdleConnections)
	return mirrortest.Upstream(t, name, address, transport, 0)
}

// withLogin adds a login to u.
func withLogin(t *testing.T, u stack.Upstream, user, password string) stack.Upstream {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	check(t, os.WriteFile(file, []byte(password), 0o600))
	u.Credentials = []stack.Credential{{Name: user, Login: login.File(user, file)}}
	return u
}

// handlerOf runs a mirror and returns its registry API.
func handlerOf(t *testing.T, up ...stack.Upstream) http.Handler {
	t.Helper()
	running, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), maxSize, up...))
	var names []route.Upstream
	for _, u := range up {
		names = append(names, route.Upstream{Name: u.Name})
	}
	return proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(names...)})
}

// get asks the mirror as a client does.
func get(t *testing.T, mirror http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.URL.Host, r.RequestURI = "", target
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		mirror.ServeHTTP(w, r.WithContext(oci.WithClient(t.Context(), oci.Client{Address: netip.MustParseAddr("192.0.2.1")})))
	}()
	return w
}

// trap is a port of this machine to which no upstream may lead the mirror.
type trap struct {
	port string
	hits chan net.Addr
}

// newTrap listens on the same port of all addresses of this machine that it has.
func newTrap(t *testing.T) *trap {
	t.Helper()
	first, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	_, port, err := net.SplitHostPort(first.Addr().String())
	check(t, err)
	trap := &trap{port: port, hits: make(chan net.Addr, 1000)}
	trap.watch(t, first)
	if second, err := net.Listen("tcp6", "[::1]:"+port); err == nil { // there may be no IPv6
		trap.watch(t, second)
	}
	return trap
}

func (trap *trap) watch(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			trap.hits <- conn.LocalAddr()
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		check(t, l.Close())
		<-done
	})
}

// content is a blob that no other test has.
func content(name string) ([]byte, oci.Digest) {
	raw := bytes.Repeat([]byte(name+"\n"), 100)
	return raw, oci.FromBytes(raw)
}

// dialTCP is the network of a mirror that listens on loopback.
func dialTCP(ctx context.Context, _, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	raw, err := io.ReadAll(r)
	check(t, err)
	return string(raw)
}

// serveLocal serves handler on loopback and returns its address.
func serveLocal(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

func digestOf(text string) string { return oci.FromBytes([]byte(text)).String() }

package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// internet is a proxy to hosts of any name. What is behind it is not on this machine
// for the mirror, as little as Docker Hub is, so that its guard is that of a public
// upstream. It ends TLS itself, and records what each host and itself are sent.
type internet struct {
	proxy *httptest.Server
	ca    *authority

	mu     sync.Mutex // guards all below
	hosts  map[string]http.Handler
	visits []visit
	clear  []http.Header // of the requests to the proxy itself, which TLS does not protect
}

// visit is one request to a host.
type visit struct {
	host   string // with the scheme and without a default port
	uri    string
	header http.Header
	body   string
	client string // the name in the client certificate
}

// tunnelKey is the context key of the host that a tunnel leads to.
type tunnelKey struct{}

type tunnel struct {
	net.Conn
	host string
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	i := &internet{ca: newAuthority(t), hosts: make(map[string]http.Handler)}
	tunnels := &tunnels{conns: make(chan net.Conn), closed: make(chan struct{})}
	inner := &http.Server{
		Handler:  http.HandlerFunc(i.serveTunnelled),
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, tunnelKey{}, c.(*tls.Conn).NetConn().(tunnel).host)
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = inner.Serve(tls.NewListener(tunnels, &tls.Config{GetConfigForClient: i.present}))
	}()
	i.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.serveProxy(w, r, tunnels) }))
	t.Cleanup(func() {
		i.proxy.CloseClientConnections()
		i.proxy.Close()
		check(t, tunnels.Close())
		_ = inner.Close()
		<-done
	})
	return i
}

// serve makes handler a host, such as https://registry.example.
func (i *internet) serve(host string, handler http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hosts[host] = handler
}

// present presents a certificate for any host.
func (i *internet) present(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	name := hello.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(hello.Conn.(tunnel).host)
	}
	certificate, err := i.ca.issue(name)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{*certificate}, ClientAuth: tls.RequestClientCert}, nil
}

// serveProxy opens a tunnel, or passes on a request that is not protected by TLS.
func (i *internet) serveProxy(w http.ResponseWriter, r *http.Request, tunnels *tunnels) {
	i.mu.Lock()
	i.clear = append(i.clear, r.Header.Clone())
	i.mu.Unlock()
	if r.Method != http.MethodConnect {
		i.visit(w, r, "http://"+strings.TrimSuffix(r.URL.Host, ":80"))
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	select {
	case tunnels.conns <- tunnel{conn, r.Host}:
	case <-tunnels.closed:
		_ = conn.Close()
	}
}

func (i *internet) serveTunnelled(w http.ResponseWriter, r *http.Request) {
	i.visit(w, r, "https://"+strings.TrimSuffix(r.Context().Value(tunnelKey{}).(string), ":443"))
}

func (i *internet) visit(w http.ResponseWriter, r *http.Request, host string) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	v := visit{host: host, uri: r.URL.RequestURI(), header: r.Header.Clone(), body: string(body)}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		v.client = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	i.mu.Lock()
	i.visits = append(i.visits, v)
	handler, ok := i.hosts[host]
	i.mu.Unlock()
	if !ok {
		http.Error(w, "no such host", http.StatusBadGateway)
		return
	}
	handler.ServeHTTP(w, r)
}

// all returns what was visited so far.
func (i *internet) all() []visit {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.visits)
}

// strangers returns the hosts that were visited, except those that may be.
func (i *internet) strangers(allowed ...string) []string {
	var hosts []string
	for _, v := range i.all() {
		if !slices.Contains(allowed, v.host) && !slices.Contains(hosts, v.host) {
			hosts = append(hosts, v.host)
		}
	}
	return hosts
}

// route sends requests through the internet: all, or only those to the named hosts.
func (i *internet) route(hosts ...string) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		if len(hosts) > 0 && !slices.Contains(hosts, r.URL.Hostname()) {
			return nil, nil
		}
		return url.Parse(i.proxy.URL)
	}
}

// tunnels is a listener whose connections come through the proxy.
type tunnels struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *tunnels) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *tunnels) Addr() net.Addr { return &net.TCPAddr{} }

package security

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/server"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

// served is a mirror behind its server, on loopback or on a network in memory, with a
// blob in a registry behind it.
type served struct {
	t       *testing.T
	hub     *hubsim.Hub
	network *hubsim.Network // nil: loopback
	ca      *authority      // nil: plain HTTP
	address string
	path    string // of the blob
	blob    []byte

	mu   sync.Mutex // guards uris
	uris []string   // that have arrived at the registry API
}

// serve serves a mirror until the end of t. tls is nil for plain HTTP.
func serve(t *testing.T, network *hubsim.Network, blob []byte, config func(*authority) *tls.Config) *served {
	t.Helper()
	s := &served{t: t, network: network, blob: blob}
	s.startHub()
	running, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), maxSize, mirrortest.Upstream(t, oci.DockerHub, s.hub.URL(), s.transport(), 0)))
	api := proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(route.Upstream{Name: oci.DockerHub})})
	o := server.Options{Handler: s.record(api), ErrorLog: log.New(io.Discard, "", 0)}
	if config != nil {
		s.ca = newAuthority(t)
		o.TLS = config(s.ca)
	}
	web := server.New(s.listen(), o)
	done := make(chan error, 1)
	go func() { done <- web.Serve() }()
	t.Cleanup(func() {
		check(t, web.Close())
		check(t, <-done)
	})
	return s
}

func (s *served) startHub() {
	o := hubsim.Options{Direct: true, NoAuth: true}
	if s.network != nil {
		o.Addr, o.CDNAddr, o.Listen = "registry.example:80", "cdn.example:80", s.network.Listen
	}
	var err error
	s.hub, err = hubsim.Start(o)
	check(s.t, err)
	s.t.Cleanup(s.hub.Close)
	s.path = "/v2/team/app/blobs/" + s.hub.AddBlob("team/app", s.blob).String()
	s.hub.AddManifest("team/app", "latest", imageType, []byte(`{"schemaVersion":2}`))
}

func (s *served) transport() *upstream.Transport {
	transport := upstream.NewTransport(upstream.TransportOptions{URL: parse(s.t, s.hub.URL())})
	if s.network != nil {
		transport.Proxy, transport.DialContext = nil, s.network.DialContext
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func (s *served) listen() net.Listener {
	if s.network != nil {
		s.address = "mirror.lan:5000"
		l, err := s.network.Listen(s.address)
		check(s.t, err)
		return l
	}
	l, err := server.Listen("127.0.0.1:0", "listen")
	check(s.t, err)
	s.address = l.Addr().String()
	return server.CutSlow(l)
}

// record notes what arrives at the registry API.
func (s *served) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.uris = append(s.uris, r.Method+" "+r.RequestURI)
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// arrived returns what has arrived since the last call.
func (s *served) arrived() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.uris)
	s.uris = nil
	return all
}

// dial connects, without TLS.
func (s *served) dial() net.Conn {
	s.t.Helper()
	dial := dialTCP
	if s.network != nil {
		dial = s.network.DialContext
	}
	conn, err := dial(s.t.Context(), "", s.address)
	check(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	check(s.t, conn.SetDeadline(time.Now().Add(time.Hour)))
	return conn
}

// dialTLS connects with TLS.
func (s *served) dialTLS(protocols ...string) *tls.Conn {
	s.t.Helper()
	c := s.ca.client()
	c.ServerName, c.NextProtos = "mirror.lan", protocols
	conn := tls.Client(s.dial(), c)
	check(s.t, conn.HandshakeContext(s.t.Context()))
	return conn
}

// present presents a certificate of the mirror.
func present(a *authority) *tls.Config {
	certificate, err := a.issue("mirror.lan")
	if err != nil {
		panic(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{*certificate}}
}

// wantServes fails when another client is not served.
func (s *served) wantServes() {
	s.t.Helper()
	var conn net.Conn
	if s.ca != nil {
		conn = s.dialTLS("http/1.1")
	} else {
		conn = s.dial()
	}
	defer func() { _ = conn.Close() }()
	check(s.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err := io.WriteString(conn, "GET "+s.path+" HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n")
	check(s.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(s.t, err)
	if body := readAll(s.t, resp.Body); body != string(s.blob) {
		s.t.Errorf("another client: status %d, %d bytes of %d", resp.StatusCode, len(body), len(s.blob))
	}
}

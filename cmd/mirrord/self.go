package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"mirrord/internal/config"
)

// self is the mirror as a client of itself, by a User-Agent that nobody else knows. Its
// requests are neither logged nor counted.
type self string

func newSelf() self { return self("mirrord-watchdog " + rand.Text()) }

// is reports whether the mirror itself sends a request.
func (s self) is(r *http.Request) bool { return r.UserAgent() == string(s) }

// ask asks a listener for /v2/. It fails when nothing happens in time: whatever else
// comes, a refusal or the end of the connection, is the work of a mirror that lives, and
// a client that finds no file descriptor or port proves nothing.
func (s self) ask(ctx context.Context, listener config.Listener, address net.Addr) error {
	c := http.Client{
		Transport:     transportTo(listener, address),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(s.request(ctx, scheme(listener)+"://"+address.String()))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no response from %s: %w", address, err)
	}
	return nil
}

// transportTo returns a transport with a connection for each request, without a proxy.
// Nothing is learnt from what it brings, so it may come from anybody.
func transportTo(listener config.Listener, address net.Addr) *http.Transport {
	security := &tls.Config{InsecureSkipVerify: true}
	if len(listener.ACME.Domains) > 0 {
		security.ServerName = listener.ACME.Domains[0] // there is no certificate for another
	}
	return &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   security,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, address.Network(), address.String())
			if err == nil && listener.ProxyProtocol {
				_, err = io.WriteString(conn, "PROXY UNKNOWN\r\n") // from a proxy on its own behalf
			}
			return conn, err
		},
	}
}

// call lets a handler serve the request for /v2/ without a connection.
func (s self) call(h http.Handler) {
	r := s.request(context.Background(), "http://localhost")
	r.RemoteAddr = "127.0.0.1:0"
	h.ServeHTTP(discard{}, r)
}

func (s self) request(ctx context.Context, base string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v2/", nil)
	if err != nil {
		panic(err) // base is an address that is listened on
	}
	r.Header.Set("User-Agent", string(s))
	return r
}

// discard is a response that nobody reads.
type discard http.Header

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// needsCertificate reports whether every client of a listener needs a certificate, which
// the mirror itself has not.
func needsCertificate(l config.Listener) bool {
	return l.TLS.ClientCAFile != "" && !(l.Auth.ClientCertificates && l.Auth.HasLogin())
}

func scheme(l config.Listener) string {
	if l.TLS.CertFile != "" || l.ACME.Enabled() {
		return "https"
	}
	return "http"
}

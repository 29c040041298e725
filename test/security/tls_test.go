package security

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// requireClients accepts clients with a certificate of the same authority.
func requireClients(a *authority) *tls.Config {
	c := present(a)
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.pool()
	return c
}

// What is no TLS 1.2 or 1.3 is refused at once.
func TestOldHandshakes(t *testing.T) {
	t.Parallel()
	blob, _ := content("old")
	s := serve(t, nil, blob, present)
	hello := "\x01\x00\x00\x2f\x03\x00" + strings.Repeat("r", 32) + "\x00\x00\x08\x00\x35\x00\x2f\x00\x0a\x00\x05\x01\x00"
	for name, text := range map[string]string{
		"SSLv2":                "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80\x04\x00\x80\x05\x00\x80\x06\x00\x40\x07\x00\xc0" + strings.Repeat("c", 16),
		"SSLv3":                "\x16\x03\x00\x00\x33" + hello,
		"SSLv3 in TLS 1.0":     "\x16\x03\x01\x00\x33" + hello,
		"a heartbeat":          "\x18\x03\x02\x00\x03\x01\x40\x00",
		"data first":           "\x17\x03\x03\x00\x05hello",
		"a record too large":   "\x16\x03\x01\xff\xff" + strings.Repeat("x", 65535),
		"a hello too large":    "\x16\x03\x01\x40\x00\x01\xff\xff\xff" + strings.Repeat("x", 16380),
		"an empty record":      strings.Repeat("\x16\x03\x01\x00\x00", 1000),
		"plain HTTP":           "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n",
		"an unknown record":    "\xff\x03\x01\x00\x01x",
		"a finished handshake": "\x14\x03\x03\x00\x01\x01",
	} {
		conn := s.dial()
		check(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		go func() { _, _ = io.WriteString(conn, text) }()
		raw, err := io.ReadAll(conn)
		if expired, ok := err.(net.Error); ok && expired.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
		if len(raw) > 0 && raw[0] != 0x15 && !strings.HasPrefix(string(raw), "HTTP/1.0 400") {
			t.Errorf("%s: the server went on with %.60q", name, raw)
		}
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		c := s.ca.client()
		c.MinVersion, c.MaxVersion, c.ServerName = version, version, "mirror.lan"
		if err := tls.Client(s.dial(), c).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s was accepted", tls.VersionName(version))
		}
	}
	s.wantServes()
}

// A client that wants to negotiate again is cut off. OpenSSL is, because no Go client
// does.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	blob, _ := content("renegotiation")
	s := serve(t, nil, blob, present)
	c := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", s.address, "-tls1_2", "-servername", "mirror.lan")
	input, err := c.StdinPipe()
	check(t, err)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	check(t, c.Start())
	_, err = io.WriteString(input, "R\nGET /v2/ HTTP/1.1\nHost: mirror\n\n")
	check(t, err)
	err = c.Wait()
	if text := out.String(); err == nil || !strings.Contains(text, "RENEGOTIATING") || strings.Contains(text, "HTTP/1.1 200") {
		t.Errorf("%v\n%s", err, text)
	}
	if arrived := s.arrived(); len(arrived) > 0 {
		t.Errorf("%q has arrived", arrived)
	}
	s.wantServes()
}

// A client certificate is of the authority that the listener names, and of a size that
// costs nothing.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	blob, _ := content("client certificates")
	s := serve(t, nil, blob, requireClients)
	own, err := s.ca.issue("client.lan")
	check(t, err)
	stranger, err := newAuthority(t).issue("client.lan")
	check(t, err)
	chain := func(n int) *tls.Certificate {
		return &tls.Certificate{Certificate: repeatCertificates(own.Certificate[0], n), PrivateKey: own.PrivateKey}
	}
	for name, test := range map[string]struct {
		certificate *tls.Certificate
		ok          bool
	}{
		"its own":              {own, true},
		"with a chain":         {chain(100), true},
		"with a long chain":    {chain(2000), false},
		"a large one":          {enlarge(t, s.ca, 100<<10), true},
		"a huge one":           {enlarge(t, s.ca, 300<<10), false},
		"a stranger's":         {stranger, false},
		"the stranger's, long": {&tls.Certificate{Certificate: repeatCertificates(stranger.Certificate[0], 400), PrivateKey: stranger.PrivateKey}, false},
		"none":                 {nil, false},
		"without its key":      {&tls.Certificate{Certificate: own.Certificate, PrivateKey: stranger.PrivateKey}, false},
		"no certificate":       {&tls.Certificate{Certificate: [][]byte{[]byte("no certificate")}, PrivateKey: own.PrivateKey}, false},
	} {
		begun := time.Now()
		c := s.ca.client()
		c.ServerName = "mirror.lan"
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if test.certificate == nil {
				return &tls.Certificate{}, nil
			}
			return test.certificate, nil
		}
		conn := tls.Client(s.dial(), c)
		check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err := io.WriteString(conn, "GET /v2/ HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n")
		if err == nil {
			_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		}
		if (err == nil) != test.ok || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(begun))
		}
		_ = conn.Close()
	}
	if n := len(s.arrived()); n != 3 {
		t.Errorf("%d requests have arrived, want 3", n)
	}
}

func repeatCertificates(raw []byte, n int) (all [][]byte) {
	for range n {
		all = append(all, raw)
	}
	return all
}

// enlarge returns a certificate of the authority with an extension of that size.
func enlarge(t *testing.T, a *authority, size int) *tls.Certificate {
	t.Helper()
	own, err := a.issue("client.lan")
	check(t, err)
	large := template("client.lan")
	large.IsCA = false
	large.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Value: make([]byte, size)}}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	check(t, err)
	raw, err := x509.CreateCertificate(rand.Reader, large, a.certificate, leaf.PublicKey, a.key)
	check(t, err)
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: own.PrivateKey}
}

// Neither a client that has closed its side of the connection nor one that goes away in
// the middle of a handshake holds anything.
func TestHalfClosedConnections(t *testing.T) {
	t.Parallel()
	blob, _ := content("half closed")
	plain, secure := serve(t, nil, blob, nil), serve(t, nil, blob, present)
	type halfCloser interface {
		net.Conn
		CloseWrite() error
	}
	for name, conn := range map[string]halfCloser{"plain": plain.dial().(*net.TCPConn), "TLS": secure.dialTLS("http/1.1")} {
		check(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, err := io.WriteString(conn, "GET "+plain.path+" HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n")
		check(t, err)
		check(t, conn.CloseWrite())
		raw, err := io.ReadAll(conn)
		if expired, ok := err.(net.Error); ok && expired.Timeout() {
			t.Errorf("%s: %d bytes, and the connection stays open", name, len(raw))
		}
	}
	for range 200 {
		conn := secure.dial()
		_, err := io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		check(t, err)
		check(t, conn.(*net.TCPConn).SetLinger(0))
		check(t, conn.Close())
	}
	plain.wantServes()
	secure.wantServes()
}

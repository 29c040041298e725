package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	a.certificate, a.key = a.sign(t, "authority", true)
	return a
}

// sign returns a certificate for 127.0.0.1, signed by a, or by itself when a has no key.
func (a *authority) sign(t *testing.T, name string, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.certificate, a.key
	if signer == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(t, err)
	certificate, err := x509.ParseCertificate(raw)
	check(t, err)
	return certificate, key
}

// write writes a new certificate of that name over files.
func (a *authority) write(t *testing.T, name string, files TLSFiles) tls.Certificate {
	t.Helper()
	certificate, key := a.sign(t, name, false)
	raw, err := x509.MarshalECPrivateKey(key)
	check(t, err)
	writePEM(t, files.Certificate, "CERTIFICATE", certificate.Raw)
	writePEM(t, files.Key, "EC PRIVATE KEY", raw)
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func writePEM(t *testing.T, path, kind string, raw []byte) {
	t.Helper()
	check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600))
}

func filesIn(dir string) TLSFiles {
	return TLSFiles{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serveTLS serves handler with these files, and returns its address.
func serveTLS(t *testing.T, files TLSFiles, progressTime time.Duration, handler http.Handler) (address string) {
	t.Helper()
	certificate, err := LoadCertificate(files, func(err error) { t.Error(err) })
	check(t, err)
	listener, err := Listen("127.0.0.1:0", "listen")
	check(t, err)
	s := newServer(CutSlow(listener), Options{Handler: handler, TLS: certificate.Config(), ErrorLog: log.New(io.Discard, "", 0)}, progressTime)
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		check(t, s.Close())
		check(t, <-done)
	})
	return listener.Addr().String()
}

// TLS 1.2 and newer, over HTTP/2 and HTTP/1.1; with client CAs only for their clients.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	files := filesIn(t.TempDir())
	own := a.write(t, "mirror", files)
	closed := files
	closed.ClientCAs = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, closed.ClientCAs, "CERTIFICATE", a.certificate.Raw)
	either := closed
	either.OptionalClientCertificate = true
	stranger := new(authority).write(t, "stranger", filesIn(t.TempDir()))
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	open, locked := serveTLS(t, files, progressTime, handler), serveTLS(t, closed, progressTime, handler)
	ajar := serveTLS(t, either, progressTime, handler)
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
		http1   bool
		want    string // empty: refused
	}{
		"HTTP/2":               {open, &tls.Config{}, false, "HTTP/2.0"},
		"HTTP/1.1":             {open, &tls.Config{}, true, "HTTP/1.1"},
		"TLS 1.2":              {open, &tls.Config{MaxVersion: tls.VersionTLS12}, false, "HTTP/2.0"},
		"TLS 1.1":              {open, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false, ""},
		"no certificate":       {locked, &tls.Config{}, false, ""},
		"client's certificate": {locked, &tls.Config{Certificates: []tls.Certificate{own}}, false, "HTTP/2.0"},
		"optional, none":       {ajar, &tls.Config{}, false, "HTTP/2.0"},
		"optional, one":        {ajar, &tls.Config{Certificates: []tls.Certificate{own}}, false, "HTTP/2.0"},
		"optional, a stranger": {ajar, &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }}, false, ""},
		"a stranger's":         {locked, &tls.Config{Certificates: []tls.Certificate{stranger}}, false, ""},
	} {
		test.config.RootCAs = roots
		transport := &http.Transport{TLSClientConfig: test.config, ForceAttemptHTTP2: !test.http1}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + test.address)
		if err != nil && test.want == "" {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		proto, err := io.ReadAll(resp.Body)
		if string(proto) != test.want || err != nil {
			t.Errorf("%s: %s, %v; want %q", name, proto, err, test.want)
		}
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
	}
}

// A changed certificate is used within seconds, or at once after Reload; one that cannot
// be read is reported once, and the last good one stays.
func TestCertificateIsReadAgain(t *testing.T) {
	a := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		files := filesIn(t.TempDir())
		a.write(t, "first", files)
		var failures []error
		c, err := LoadCertificate(files, func(err error) { failures = append(failures, err) })
		check(t, err)
		want := func(name string) {
			t.Helper()
			leaf, err := x509.ParseCertificate(c.current().Certificates[0].Certificate[0])
			if err != nil || leaf.Subject.CommonName != name {
				t.Errorf("%v, %v; want %s", leaf.Subject, err, name)
			}
		}
		want("first")
		a.write(t, "second", files)
		want("first")
		<-time.After(recheckEvery)
		want("second")
		a.write(t, "third", files)
		c.Reload()
		want("third")
		check(t, os.WriteFile(files.Key, []byte("no key"), 0o600))
		for range 3 {
			<-time.After(recheckEvery)
			want("third")
		}
		if len(failures) != 1 {
			t.Errorf("%d failures, want 1: %v", len(failures), failures)
		}
		a.write(t, "fourth", files)
		<-time.After(recheckEvery)
		want("fourth")
	})
}

func TestValidity(t *testing.T) {
	files := filesIn(t.TempDir())
	newAuthority(t).write(t, "mirror", files)
	c, err := LoadCertificate(files, nil)
	check(t, err)
	if from, until := c.Validity(); from.Unix() != 0 || until.Unix() != 1<<33 {
		t.Errorf("valid from %s to %s", from, until)
	}
	c, err = LoadCertificate(TLSFiles{}, nil)
	check(t, err)
	if from, until := c.Validity(); !from.IsZero() || !until.IsZero() {
		t.Errorf("without TLS: valid from %s to %s", from, until)
	}
}

// Without files there is no TLS, and files that cannot be read are an error.
func TestLoadCertificate(t *testing.T) {
	c, err := LoadCertificate(TLSFiles{}, nil)
	if c.Reload(); err != nil || c.Config() != nil {
		t.Errorf("plain HTTP: %v, %v", c.Config(), err)
	}
	files := filesIn(t.TempDir())
	if _, err := LoadCertificate(files, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no files: %v", err)
	}
	newAuthority(t).write(t, "mirror", files)
	files.ClientCAs = files.Key
	if _, err := LoadCertificate(files, nil); err == nil {
		t.Error("a key was taken for a CA")
	}
}

// A client that stops reading a stream of HTTP/2 is cut off, although its connection
// lives.
func TestSlowStreamIsCut(t *testing.T) {
	a := newAuthority(t)
	files := filesIn(t.TempDir())
	a.write(t, "mirror", files)
	ended := make(chan error, 1)
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				ended <- err
				return
			}
		}
	})
	address := serveTLS(t, files, 100*time.Millisecond, endless)
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil)
	check(t, err)
	resp, err := transport.RoundTrip(req)
	check(t, err)
	defer func() { _ = resp.Body.Close() }()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the stream ended with %v", err)
	}
}

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mirrord/internal/config"
	"mirrord/internal/telemetry"
)

// The settings of an upstream's network reach its connections.
func TestNetwork(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	own := writeCertificate(t, cert, key)
	trusted := x509.NewCertPool()
	trusted.AddCert(own.Leaf)
	registry := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "registry") }))
	registry.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: trusted, ClientAuth: tls.VerifyClientCertIfGiven}
	registry.Config.ErrorLog = log.New(io.Discard, "", 0)
	registry.StartTLS()
	defer registry.Close()
	locked := httptest.NewUnstartedServer(registry.Config.Handler)
	locked.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}
	locked.Config.ErrorLog = registry.Config.ErrorLog
	locked.StartTLS()
	defer locked.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "proxy of "+r.URL.Host) }))
	defer proxy.Close()
	for name, test := range map[string]struct {
		url  string
		u    config.Upstream
		want string // empty: it fails
	}{
		"unknown authority":  {registry.URL, config.Upstream{}, ""},
		"ca_file":            {registry.URL, config.Upstream{CAFile: cert}, "registry"},
		"insecure":           {registry.URL, config.Upstream{Insecure: true}, "registry"},
		"no certificate":     {locked.URL, config.Upstream{CAFile: cert}, ""},
		"client certificate": {locked.URL, config.Upstream{CAFile: cert, ClientCertFile: cert, ClientKeyFile: key}, "registry"},
		"proxy":              {"http://registry.invalid", config.Upstream{Proxy: proxy.URL}, "proxy of registry.invalid"},
		"no proxy":           {registry.URL, config.Upstream{CAFile: cert, Proxy: config.NoProxy}, "registry"},
	} {
		test.u.Name = "registry.example"
		address, err := url.Parse(test.url)
		check(t, err)
		transport, err := newNetwork(test.u, telemetry.NewMetrics("test"), nil)
		check(t, err)
		client := &http.Client{Transport: transport(address)}
		resp, err := client.Get(test.url)
		if (err == nil) != (test.want != "") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != test.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, body, err, test.want)
		}
		check(t, resp.Body.Close())
	}
}

// writeCertificate writes a certificate for 127.0.0.1 that is its own authority.
func writeCertificate(t *testing.T, cert, key string) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mirror"}, IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	check(t, err)
	encoded, err := x509.MarshalECPrivateKey(private)
	check(t, err)
	check(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	check(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), 0o600))
	pair, err := tls.LoadX509KeyPair(cert, key)
	check(t, err)
	return pair
}

// A ca_file that is a pipe which nobody writes to does not stop the mirror.
func TestPipeOfCAs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	check(t, syscall.Mkfifo(path, 0o600))
	if _, err := readCAs(path); err == nil || !strings.Contains(err.Error(), "contains no certificate in PEM form") {
		t.Error(err)
	}
}

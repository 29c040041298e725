package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"mirrord/internal/config"
	"mirrord/internal/telemetry"
	"mirrord/internal/tracing"
	"mirrord/internal/upstream"
)

// network makes the transport to an address of an upstream.
type network func(address *url.URL) http.RoundTripper

// newNetwork returns the network of an upstream. Its transports share the bandwidth, the
// metrics and the tracer.
func newNetwork(u config.Upstream, metrics *telemetry.Metrics, tracer *tracing.Tracer) (network, error) {
	security, err := newTLS(u)
	if err != nil {
		return nil, err
	}
	certificate, err := clientCertificate(u)
	if err != nil {
		return nil, err
	}
	o := upstream.TransportOptions{
		TLS: security, ClientCertificate: certificate, TokenHosts: u.TokenHosts, Proxy: proxyOf(u), ConnectTimeout: u.ConnectTimeout, ResponseTimeout: u.ResponseTimeout,
	}
	for _, network := range u.PrivateNetworks {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return nil, err
		}
		o.PrivateNetworks = append(o.PrivateNetworks, prefix)
	}
	share := upstream.NewBandwidth(func(now time.Time) int64 { return config.BandwidthAt(u.Bandwidth, now) })
	return func(address *url.URL) http.RoundTripper {
		o.URL = address
		var transport http.RoundTripper = upstream.NewTransport(o)
		if len(u.Bandwidth) > 0 {
			transport = share.Limit(transport)
		}
		return tracer.Transport(u.Name, metrics.Transport(u.Name, transport))
	}, nil
}

// newTLS returns the TLS settings of an upstream.
func newTLS(u config.Upstream) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: u.Insecure}
	if u.CAFile != "" {
		roots, err := readCAs(u.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = roots
	}
	return c, nil
}

// clientCertificate returns how to read the client certificate of an upstream, nil if it
// has none. It is read again for each connection, so that it can be renewed.
func clientCertificate(u config.Upstream) (func() (*tls.Certificate, error), error) {
	if u.ClientCertFile == "" {
		return nil, nil
	}
	read := func() (*tls.Certificate, error) {
		certificate, err := tls.LoadX509KeyPair(u.ClientCertFile, u.ClientKeyFile)
		return &certificate, err
	}
	if _, err := read(); err != nil {
		return nil, fmt.Errorf("client_cert_file: %w", err)
	}
	return read, nil
}

// readCAs returns the certificate authorities of the system and those in the file.
func readCAs(path string) (*x509.CertPool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not waiting for the writer of a pipe
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s contains no certificate in PEM form", path)
	}
	return pool, nil
}

// proxyOf returns the proxy of an upstream, nil for that of the environment.
func proxyOf(u config.Upstream) func(*http.Request) (*url.URL, error) {
	switch u.Proxy {
	case "":
		return nil
	case config.NoProxy:
		return func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	proxy, err := url.Parse(u.Proxy)
	return func(*http.Request) (*url.URL, error) { return proxy, err }
}

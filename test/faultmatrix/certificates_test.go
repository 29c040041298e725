package faultmatrix

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
)

// certificates are those of a hub whose mirror trusts one of them. nil is a hub without
// TLS.
type certificates struct {
	trusted, unknown tls.Certificate
	untrusted        atomic.Bool // the hub presents the unknown one
}

func withoutTLS(*testing.T) *certificates { return nil }

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	return &certificates{trusted: newCertificate(t), unknown: newCertificate(t)}
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{registryHost, tokenHost, cdnHost},
		NotBefore:    time.Unix(0, 0), // the clock of a bubble is in the year 2000
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	leaf, err := x509.ParseCertificate(der)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (c *certificates) server() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c.untrusted.Load() {
			return &c.unknown, nil
		}
		return &c.trusted, nil
	}}
}

func (c *certificates) client() *tls.Config {
	if c == nil {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.trusted.Leaf)
	return &tls.Config{RootCAs: roots}
}

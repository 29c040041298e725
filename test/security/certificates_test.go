package security

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// authority signs certificates for any name.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey

	mu     sync.Mutex // guards issued
	issued map[string]*tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	raw, err := x509.CreateCertificate(rand.Reader, template("authority"), template("authority"), key.Public(), key)
	check(t, err)
	certificate, err := x509.ParseCertificate(raw)
	check(t, err)
	return &authority{certificate: certificate, key: key, issued: make(map[string]*tls.Certificate)}
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), // the clock of a bubble is in the year 2000
	}
}

// issue returns a certificate for a host, which may be an address.
func (a *authority) issue(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.issued[name]; ok {
		return known, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := template(name)
	leaf.IsCA = false
	if address := net.ParseIP(name); address != nil {
		leaf.IPAddresses = []net.IP{address}
	} else {
		leaf.DNSNames = []string{name}
	}
	raw, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.issued[name] = &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
	return a.issued[name], nil
}

// pool trusts the authority.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// client trusts it.
func (a *authority) client() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.pool()}
}

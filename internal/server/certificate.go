package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// Certificates are where a listener has its TLS configuration from. Methods may be called
// concurrently.
type Certificates interface {
	// Config returns the configuration for a server, nil for plain HTTP. It follows
	// later changes of the certificates by itself.
	Config() *tls.Config

	// Reload looks for changes now.
	Reload()

	// Validity returns from when to when the certificate is valid that clients get, of
	// several the one that expires first. Both are zero while there is none.
	Validity() (from, until time.Time)
}

// TLSFiles are the files of a listener that serves TLS, in PEM form.
type TLSFiles struct {
	Certificate string // the certificate and those between it and its root
	Key         string
	ClientCAs   string // that sign the certificates which clients must have; empty: they need none

	OptionalClientCertificate bool // one that a client sends is verified, but it need not send any
}

// recheckEvery is how often the files are looked at while clients connect.
const recheckEvery = 5 * time.Second

// Certificate is the TLS configuration in some files, which is read again when they
// change. It may be used concurrently.
type Certificate struct {
	files  TLSFiles
	failed func(error)

	mu      sync.Mutex // guards all below; held while the files are read
	config  *tls.Config
	stamps  [3]fileStamp // of the files that config was read from, or that could not be read
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads the files; without any the server uses plain HTTP. failed is
// called when they have changed and cannot be read any more; the last good ones are
// used meanwhile.
func LoadCertificate(files TLSFiles, failed func(error)) (*Certificate, error) {
	c := &Certificate{files: files, failed: failed}
	if files == (TLSFiles{}) {
		return c, nil
	}
	c.stamps = c.stat()
	var err error
	c.config, err = files.load()
	return c, err
}

// Config returns the configuration for a server, nil for plain HTTP.
func (c *Certificate) Config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current(), nil
		},
	}
}

// Reload reads the files if they have changed.
func (c *Certificate) Reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reload()
}

// Validity implements Certificates.
func (c *Certificate) Validity() (from, until time.Time) {
	config := c.current()
	if config == nil {
		return time.Time{}, time.Time{}
	}
	leaf := config.Certificates[0].Leaf
	return leaf.NotBefore, leaf.NotAfter
}

func (c *Certificate) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) >= recheckEvery {
		c.reload()
	}
	return c.config
}

// reload reads the files if they have changed. The caller holds mu.
func (c *Certificate) reload() {
	c.checked = time.Now()
	stamps := c.stat()
	if stamps == c.stamps {
		return
	}
	c.stamps = stamps
	config, err := c.files.load()
	if err != nil {
		c.failed(err)
		return
	}
	c.config = config
}

func (c *Certificate) stat() (stamps [3]fileStamp) {
	for i, path := range []string{c.files.Certificate, c.files.Key, c.files.ClientCAs} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

func (f TLSFiles) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s and key %s: %w", f.Certificate, f.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if f.ClientCAs == "" {
		return config, nil
	}
	raw, err := os.ReadFile(f.ClientCAs)
	if err != nil {
		return nil, fmt.Errorf("read client CAs: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if f.OptionalClientCertificate {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if !config.ClientCAs.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s contains no certificate in PEM form", f.ClientCAs)
	}
	return config, nil
}

// Package acme obtains certificates for listeners from a CA that speaks ACME (RFC
// 8555) and renews them. The CA validates the domains over the listener itself
// (TLS-ALPN-01, RFC 8737), so no other port is needed.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Options of Certificates.
type Options struct {
	Domains   []string // one or more: the first is for clients that send no server name
	Email     string   // for the CA, may be empty
	Directory string   // URL of the CA; empty: Let's Encrypt
	CAFile    string   // PEM roots that the CA's own certificate is signed by; empty: the system's
	Dir       string   // for keys and certificates; created with mode 0700
	Address   string   // host:port of the listener
	Log       *zap.Logger
}

// checkEvery is how often it is checked whether a certificate is due for renewal. A
// private CA may issue certificates for minutes.
const checkEvery = 30 * time.Second

// Certificates are the certificates of one listener. They are obtained and renewed while
// Run runs. Methods may be called concurrently.
type Certificates struct {
	opts     Options
	template certmagic.ACMEIssuer
	recheck  chan struct{}
	logged   *failures

	loaded chan struct{}     // closed by Run when those below are set and stored certificates are in memory
	config *certmagic.Config // not to be read before loaded is closed
	cache  *certmagic.Cache  // likewise
}

// New checks the options and reads the roots. It neither writes nor connects.
func New(o Options) (*Certificates, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	logged := new(failures)
	return &Certificates{
		opts:   o,
		logged: logged,
		template: certmagic.ACMEIssuer{
			CA: o.Directory, Email: o.Email, Agreed: true, TrustedRoots: roots, Logger: libraryLog(o.Log, logged),
			DisableHTTPChallenge: true, DisableDistributedSolvers: true,
			ListenHost: host, AltTLSALPNPort: number, // in use by the listener, which tells the library to open none
		},
		recheck: make(chan struct{}, 1),
		loaded:  make(chan struct{}),
	}, nil
}

// readRoots returns nil, which stands for the system's roots, without a file.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the roots of the ACME server: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s contains no certificate in PEM form", path)
	}
	return roots, nil
}

// Config returns the TLS configuration of the listener. A handshake fails while there is
// no certificate for the name that the client asks for.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1", "acme-tls/1"},
		GetCertificate: c.get,
	}
}

// get waits for Run to load what is stored: a client that connects just after the start
// is served.
func (c *Certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	select {
	case <-c.loaded:
		return c.config.GetCertificate(hello)
	case <-hello.Context().Done():
		return nil, hello.Context().Err()
	}
}

// Reload makes Run load certificates again that it could not load, and renew those that
// are due.
func (c *Certificates) Reload() {
	select {
	case c.recheck <- struct{}{}:
	default: // one is waiting already
	}
}

// Validity implements server.Certificates.
func (c *Certificates) Validity() (from, until time.Time) {
	select {
	case <-c.loaded:
	default:
		return from, until
	}
	for _, domain := range c.opts.Domains {
		var newest *x509.Certificate // one that was replaced may still be in memory
		for _, found := range c.cache.AllMatchingCertificates(domain) {
			if newest == nil || found.Leaf.NotAfter.After(newest.NotAfter) {
				newest = found.Leaf
			}
		}
		if newest != nil && (until.IsZero() || newest.NotAfter.Before(until)) {
			from, until = newest.NotBefore, newest.NotAfter
		}
	}
	return from, until
}

// Run obtains and renews certificates until ctx ends. A failure is logged and retried:
// it is not returned. Run once.
func (c *Certificates) Run(ctx context.Context) error {
	if err := makePrivate(c.opts.Dir); err != nil {
		c.opts.Log.Error("directory of certificates is not usable; make it writable for this user, and restart", zap.Error(err))
	}
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return c.config, nil },
		RenewCheckInterval: checkEvery,
		Logger:             libraryLog(c.opts.Log, c.logged),
	})
	defer cache.Stop()
	c.cache, c.config = cache, c.newConfig(cache)
	c.load(ctx)
	close(c.loaded)
	for {
		_ = c.config.ManageAsync(ctx, c.opts.Domains) // its failures are logged, see report
		select {
		case <-c.recheck:
			c.load(ctx)
			_ = cache.RenewManagedCertificates(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Certificates) newConfig(cache *certmagic.Cache) *certmagic.Config {
	config := certmagic.New(cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: c.opts.Dir},
		DefaultServerName: c.opts.Domains[0],
		OCSP:              certmagic.OCSPConfig{DisableStapling: true}, // CAs no longer offer it
		OnEvent:           c.report,
		ShouldEmitFunc:    func(event string) bool { return event != "tls_get_certificate" },
		Logger:            libraryLog(c.opts.Log, c.logged),
	})
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, c.template)}
	return config
}

// load loads what is stored, without asking the CA.
func (c *Certificates) load(ctx context.Context) {
	for _, domain := range c.opts.Domains {
		if _, err := c.config.CacheManagedCertificate(ctx, domain); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.reportStored(domain, err)
		}
	}
}

// makePrivate creates dir, or takes it away from other users.
func makePrivate(dir string) error {
	return errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700))
}

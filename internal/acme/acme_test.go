package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mholt "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await waits for what another goroutine brings about.
func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it takes too long")
		}
	}
}

// closedAddress is one at which nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer func() { check(t, l.Close()) }()
	return l.Addr().String()
}

// start runs Certificates whose CA is down until the end of the test.
func start(t *testing.T, dir string) (*Certificates, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	c, err := New(Options{
		Domains: []string{"mirror.example"}, Directory: "https://" + closedAddress(t), Dir: dir, Address: "127.0.0.1:443", Log: zap.New(core),
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
	return c, logs
}

// A CA that is down is one error in the log, which says what to do, and fails handshakes
// at once.
func TestCAIsDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	c, logs := start(t, dir)
	client, conn := net.Pipe()
	go func() { _ = tls.Client(client, &tls.Config{ServerName: "mirror.example"}).Handshake() }()
	if err := tls.Server(conn, c.Config()).Handshake(); err == nil || !strings.Contains(err.Error(), "no certificate available") {
		t.Errorf("handshake: %v", err)
	}
	await(t, func() bool { return logs.FilterLevelExact(zapcore.ErrorLevel).Len() > 0 })
	<-time.After(100 * time.Millisecond) // for what else is logged
	all := logs.FilterLevelExact(zapcore.ErrorLevel).All()
	if len(all) != 1 || all[0].Message != "certificate cannot be obtained; it will be retried" {
		t.Fatalf("log: %v", all)
	}
	if hint := all[0].ContextMap()["hint"]; !strings.HasPrefix(hint.(string), "the CA cannot be reached") {
		t.Errorf("hint: %s", hint)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
}

// A damaged file of a certificate is reported with what to do, at the start and again
// after SIGHUP.
func TestDamagedCertificate(t *testing.T) {
	dir := t.TempDir()
	c, err := New(Options{Directory: "https://" + closedAddress(t), Address: "127.0.0.1:443", Log: zap.NewNop()})
	check(t, err)
	key := strings.ReplaceAll(strings.TrimPrefix(c.template.CA, "https://"), ":", "-")
	site := filepath.Join(dir, "certificates", key, "mirror.example")
	check(t, os.MkdirAll(site, 0o700))
	for _, kind := range []string{".crt", ".key", ".json"} {
		check(t, os.WriteFile(filepath.Join(site, "mirror.example"+kind), []byte("damaged"), 0o600))
	}
	core, logs := observer.New(zapcore.InfoLevel)
	c.opts.Dir, c.opts.Domains, c.opts.Log = dir, []string{"mirror.example"}, zap.New(core)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	damaged := func() int { return logs.FilterMessageSnippet("stored certificate cannot be used").Len() }
	<-c.loaded
	if damaged() != 1 {
		t.Errorf("log: %v", logs.All())
	}
	c.Reload()
	await(t, func() bool { return damaged() == 2 })
	cancel()
	check(t, <-done)
}

// Of several certificates the one that expires first counts, and of each domain the
// newest, which has replaced the others.
func TestValidity(t *testing.T) {
	core, _ := observer.New(zapcore.InfoLevel)
	c, err := New(Options{
		Domains: []string{"a.example", "b.example", "none.example"}, Directory: "https://" + closedAddress(t), Dir: t.TempDir(), Address: "127.0.0.1:443", Log: zap.New(core),
	})
	check(t, err)
	if from, until := c.Validity(); !from.IsZero() || !until.IsZero() {
		t.Errorf("before it runs: valid from %s to %s", from, until)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-c.loaded
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, given := range []struct {
		domain string
		hours  time.Duration
	}{{"a.example", 2}, {"a.example", 90}, {"b.example", 100}} {
		_, err := c.config.CacheUnmanagedTLSCertificate(ctx, selfSigned(t, given.domain, begin, begin.Add(given.hours*time.Hour)), nil)
		check(t, err)
	}
	if from, until := c.Validity(); !from.Equal(begin) || !until.Equal(begin.Add(90*time.Hour)) {
		t.Errorf("valid from %s to %s, want 90 h from %s", from, until, begin)
	}
	cancel()
	check(t, <-done)
}

func selfSigned(t *testing.T, domain string, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(until.Unix()), DNSNames: []string{domain}, NotBefore: from, NotAfter: until}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func TestHints(t *testing.T) {
	c := &Certificates{opts: Options{Address: "0.0.0.0:8443"}}
	for _, test := range []struct {
		err  error
		want string
	}{
		{mholt.Problem{Type: mholt.ProblemTypeConnection}, "must reach 0.0.0.0:8443"},
		{mholt.Problem{Type: mholt.ProblemTypeUnauthorized}, "must reach 0.0.0.0:8443"},
		{mholt.Problem{Type: mholt.ProblemTypeDNS}, "A or AAAA record"},
		{mholt.Problem{Type: mholt.ProblemTypeRateLimited}, "wait"},
		{mholt.Problem{Type: mholt.ProblemTypeCAA}, "CAA record"},
		{mholt.Problem{Type: mholt.ProblemTypeRejectedIdentifier}, "refuses"},
		{&net.OpError{Op: "dial"}, "cannot be reached"},
		{errors.New("disk full"), "cache directory is writable"},
	} {
		if hint := c.hint(test.err); !strings.Contains(hint, test.want) {
			t.Errorf("%v: hint %q, want %q", test.err, hint, test.want)
		}
	}
}

func TestRoots(t *testing.T) {
	if _, err := New(Options{Address: ":443", CAFile: "absent.pem", Log: zap.NewNop()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	check(t, os.WriteFile(empty, nil, 0o600))
	if _, err := New(Options{Address: ":443", CAFile: empty, Log: zap.NewNop()}); err == nil {
		t.Error("an empty file was accepted")
	}
}

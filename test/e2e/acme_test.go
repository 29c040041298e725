//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// acmeDomain resolves to loopback in the homes of modules.
const acmeDomain = "registry.example"

// pebble is a CA that speaks ACME.
type pebble struct {
	home       *home
	directory  string // URL
	management string // URL
	config     string
	web        *http.Client // that trusts its own certificate
	process    *process
}

// newPebble returns a CA that does not run yet. It issues certificates that are valid for
// so long, and validates domains at the port of address.
func newPebble(t *testing.T, address string, validity time.Duration) *pebble {
	t.Helper()
	version, _ := os.ReadFile(modules.path("pebble.version"))
	h := modules.home(t, "pebble")
	modules.ran(t, string(version))
	h.env = []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"}
	roots := writeCertificate(t, h)
	p := &pebble{home: h, web: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}}
	listen, management := freeAddress(t), freeAddress(t)
	p.directory, p.management = "https://"+listen+"/dir", "https://"+management
	_, port, _ := net.SplitHostPort(address)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": h.path("tls.crt"), "privateKey": h.path("tls.key"),
		"httpPort": 1, "tlsPort": json.Number(port),
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.config = h.write(t, "pebble.json", string(config))
	return p
}

// writeCertificate writes tls.crt and tls.key, signed by itself, for 127.0.0.1.
func writeCertificate(t *testing.T, h *home) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble"}, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	h.write(t, "tls.crt", string(certificate))
	h.write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return roots
}

func (p *pebble) start(t *testing.T) {
	t.Helper()
	p.process = p.home.start(t, modules.path("pebble"), "-config", p.config)
	p.process.await(t, readyWithin, func() bool {
		_, err := p.get("/roots/0")
		return err == nil
	})
}

func (p *pebble) get(path string) (string, error) {
	resp, err := p.web.Get(p.management + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// root returns the root of the certificates that the CA issues, as PEM.
func (p *pebble) root(t *testing.T) string {
	t.Helper()
	root, err := p.get("/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// startACME starts a mirror with a plain listener and, at address, one with certificates
// of the CA.
func startACME(t *testing.T, p *pebble, upstream, address string) *mirror {
	t.Helper()
	m := &mirror{home: newHome(t), address: freeAddress(t), admin: freeAddress(t)}
	config := m.home.write(t, "mirrord.yaml", fmt.Sprintf(`
listeners:
  - address: %s
    acme: {domains: [%s], email: ops@registry.example, directory: %q, ca_file: %s}
`, address, acmeDomain, p.directory, p.home.path("tls.crt")))
	m.settings = []string{"--config", config, "--upstream", "name=docker.io,url=" + upstream}
	m.start(t)
	return m
}

// serial returns the serial number of the certificate that is served at address to those
// who trust root, or an error.
func serial(address, root string) (string, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(root))
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: acmeDomain})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// A listener obtains its certificate when the CA, which was down at the start, is back, and
// serves a pull. Meanwhile others are served. A restart asks the CA for nothing.
func TestACME(t *testing.T) {
	t.Parallel()
	hub := startHub(t)
	address := freeAddress(t)
	p := newPebble(t, address, 30*24*time.Hour)
	m := startACME(t, p, hub.URL(), address)
	eventually(t, readyWithin, "the log says that the CA is down", func() bool {
		return strings.Contains(m.process.tail(), "the CA cannot be reached: check acme.directory")
	})
	img := publishOne(t, hub, "single", 1)
	plain := newCrane(t, m.address)
	if err := plain.pull(img.ref); err != nil {
		t.Errorf("the other listener: %v", err)
	}

	p.start(t)
	root := p.root(t)
	var first string
	eventually(t, 2*time.Minute, "the certificate is obtained", func() (done bool) {
		var err error
		first, err = serial(address, root)
		return err == nil
	})
	c := newCrane(t, strings.Replace(address, "127.0.0.1", acmeDomain, 1))
	c.home.env = []string{"SSL_CERT_FILE=" + c.home.write(t, "root.pem", root)}
	if err := c.pull(img.ref); err != nil {
		t.Fatal(err)
	}
	check(t, c, img)
	if info, err := os.Stat(m.home.path("cache", "acme")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of certificates: %v, %v", info, err)
	}

	if expiry := m.metrics(t)[fmt.Sprintf("mirrord_certificate_expiry_timestamp_seconds{listen=%q}", address)]; expiry < float64(time.Now().Unix()) {
		t.Errorf("the metrics say that the certificate expires at %v", expiry)
	}

	p.process.end(t)
	m.process.kill()
	m.start(t)
	if again, err := serial(address, root); again != first || err != nil {
		t.Errorf("after a restart without the CA: certificate %s, %v; want %s", again, err, first)
	}
	if out, err := m.home.run(program, "verify", "--admin-listen", m.admin); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// A certificate is renewed before it expires, while the mirror runs.
func TestACMERenewal(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	p := newPebble(t, address, 40*time.Second)
	p.start(t)
	root := p.root(t)
	m := startACME(t, p, startHub(t).URL(), address)
	seen := make(map[string]bool)
	eventually(t, 2*time.Minute, "the certificate is renewed", func() bool {
		number, err := serial(address, root)
		if err == nil {
			seen[number] = true
		} else if len(seen) > 0 {
			t.Fatalf("no certificate meanwhile: %v", err)
		}
		return len(seen) == 2
	})
	eventually(t, readyWithin, "the log says that it was renewed", func() bool {
		return strings.Contains(m.process.tail(), `"renewal":true`)
	})
}

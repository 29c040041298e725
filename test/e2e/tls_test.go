//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/internal/hubsim"
)

// mirrorName and secureAddress are of a mirror with TLS. The address is one that is for
// documentation (RFC 5737), on the loopback interface: Docker verifies no certificate of
// 127.0.0.0/8.
const (
	mirrorName    = "mirror.lan"
	secureAddress = "198.51.100.7"
)

// addAddress adds secureAddress to the loopback interface until the end of the test.
func addAddress(t *testing.T) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	set := func(request uint, change func(*unix.Ifreq) error) {
		alias, err := unix.NewIfreq("lo:e2e")
		if err == nil {
			err = change(alias)
		}
		if err == nil {
			err = unix.IoctlIfreq(socket, request, alias)
		}
		if err != nil {
			t.Fatalf("address %s of lo: %v", secureAddress, err)
		}
	}
	set(unix.SIOCSIFADDR, func(alias *unix.Ifreq) error { return alias.SetInet4Addr(net.ParseIP(secureAddress).To4()) })
	t.Cleanup(func() {
		set(unix.SIOCSIFFLAGS, func(alias *unix.Ifreq) error { alias.SetUint16(0); return nil })
		_ = unix.Close(socket)
	})
}

// authority signs certificates.
type authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	file   string // PEM
	serial int64
}

func newAuthority(t *testing.T, h *home) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "office"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.file = h.write(t, "ca.pem", pemOf("CERTIFICATE", raw))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(kind string, raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
}

// pair is the files of a certificate and its key.
type pair struct{ cert, key string }

// issue writes a certificate for a server or a client of that name.
func (a *authority) issue(t *testing.T, h *home, name string) pair {
	t.Helper()
	a.serial++
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{h.write(t, name+".cert", pemOf("CERTIFICATE", raw)), h.write(t, name+".key", pemOf("PRIVATE KEY", private))}
}

// secure is a mirror with a plain listener and one with TLS.
type secure struct {
	*mirror
	ca      *authority
	client  pair   // that the mirror may demand
	address string // of TLS, by name
}

// startSecure starts one whose TLS listener demands certificates of clients, or not.
func startSecure(t *testing.T, hub *hubsim.Hub, demands bool) *secure {
	t.Helper()
	return startListener(t, hub, func(h *home, ca *authority) string {
		if demands {
			return "client_ca_file: " + ca.file + "}"
		}
		return "}"
	})
}

// startListener starts a mirror with a plain listener and one with TLS, of which more
// writes the rest: it begins within the settings of tls, and closes them.
func startListener(t *testing.T, hub *hubsim.Hub, more func(*home, *authority) string) *secure {
	t.Helper()
	addAddress(t)
	h := newHome(t)
	s := &secure{ca: newAuthority(t, h)}
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	s.address = mirrorName + ":" + port
	server := s.ca.issue(t, h, mirrorName)
	s.client = s.ca.issue(t, h, "build-7")
	config := h.write(t, "mirrord.yaml", fmt.Sprintf("listeners: [{address: '%s:%s', tls: {cert_file: %s, key_file: %s, %s}]\n",
		secureAddress, port, server.cert, server.key, more(h, s.ca)))
	s.mirror = startDaemon(t, "--config", config, "--tags-fresh", tagsFresh.String(), "--upstream", "name=docker.io,url="+hub.URL())
	return s
}

// secured are the clients, with the CA of the mirror, and with a certificate of their own
// if cert is not zero.
var secured = []struct {
	name  string
	start func(t *testing.T, s *secure, cert pair) client
}{
	{"Docker of Debian 12", func(t *testing.T, s *secure, cert pair) client {
		return newSecureDockerd(t, debian12, graphDriver, s, cert)
	}},
	{"Docker 28, graph driver", func(t *testing.T, s *secure, cert pair) client {
		return newSecureDockerd(t, newest, graphDriver, s, cert)
	}},
	{"Docker 28, containerd's store", func(t *testing.T, s *secure, cert pair) client {
		return newSecureDockerd(t, newest, containerdStore, s, cert)
	}},
	{"containerd of Debian 12", func(t *testing.T, s *secure, cert pair) client { return newSecureContainerd(t, debian12, s, cert) }},
	{"containerd 2", func(t *testing.T, s *secure, cert pair) client { return newSecureContainerd(t, newest, s, cert) }},
	{"BuildKit", func(t *testing.T, s *secure, cert pair) client { return newSecureBuildKit(t, s, cert) }},
	{"podman of Debian 12", func(t *testing.T, s *secure, cert pair) client { return newSecurePodman(t, debian12, s, cert) }},
	{"podman 5", func(t *testing.T, s *secure, cert pair) client { return newSecurePodman(t, newest, s, cert) }},
}

// TestTLS pulls over TLS from a mirror with a certificate of the office's own CA.
func TestTLS(t *testing.T) {
	for _, c := range secured {
		t.Run(c.name, func(t *testing.T) {
			hub := startHub(t)
			s := startSecure(t, hub, false)
			pullAll(t, c.start(t, s, pair{}), publishAll(t, hub))
			if n := hub.Counters(); n.ManifestGETs == 0 {
				t.Errorf("the hub was not asked: %+v", n)
			}
		})
	}
}

// TestClientCertificates pulls from a mirror that demands certificates: a client without
// one gets nothing.
func TestClientCertificates(t *testing.T) {
	for _, c := range secured {
		t.Run(c.name, func(t *testing.T) {
			hub := startHub(t)
			s := startSecure(t, hub, true)
			images := publishAll(t, hub)
			if err := c.start(t, s, pair{}).pull(images[0].ref); err == nil {
				t.Error("a client without a certificate got an image")
			}
			pullAll(t, c.start(t, s, s.client), images)
		})
	}
}

// newSecureDockerd starts a Docker Engine with the files in /etc/docker/certs.d.
func newSecureDockerd(t *testing.T, from release, store store, s *secure, cert pair) *dockerd {
	t.Helper()
	h := from.home(t, "dockerd", "docker")
	if store == containerdStore { // it presents no certificate of its own to the mirrors in daemon.json
		h.write(t, dockerCerts+"/docker.io/hosts.toml", s.hosts(cert))
		return startDockerd(t, h, from, store)
	}
	h.trust(t, s, cert)
	return startDockerd(t, h, from, store, "https://"+s.address)
}

// trust writes the directory of certificates that Docker and podman have for a registry,
// for /etc/docker/certs.d.
func (h *home) trust(t *testing.T, s *secure, cert pair) string {
	t.Helper()
	dir := dockerCerts + "/" + s.address + "/"
	h.write(t, dir+"ca.crt", read(t, s.ca.file))
	if cert != (pair{}) {
		h.write(t, dir+"client.cert", read(t, cert.cert))
		h.write(t, dir+"client.key", read(t, cert.key))
	}
	return h.path(dir)
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func newSecureContainerd(t *testing.T, from release, s *secure, cert pair) *containerd {
	t.Helper()
	return startContainerd(t, from, map[string]string{"docker.io": s.hosts(cert)})
}

// hosts returns a hosts.toml for docker.io.
func (s *secure) hosts(cert pair) string {
	toml := fmt.Sprintf("server = \"https://registry-1.docker.io\"\n[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\nca = %q\n", "https://"+s.address, s.ca.file)
	if cert != (pair{}) {
		toml += fmt.Sprintf("client = [[%q, %q]]\n", cert.cert, cert.key)
	}
	return toml
}

func newSecureBuildKit(t *testing.T, s *secure, cert pair) *buildKit {
	t.Helper()
	toml := fmt.Sprintf("[registry.\"docker.io\"]\nmirrors = [%q]\n[registry.%q]\nca = [%q]\n", s.address, s.address, s.ca.file)
	if cert != (pair{}) {
		toml += fmt.Sprintf("[[registry.%q.keypair]]\nkey = %q\ncert = %q\n", s.address, cert.key, cert.cert)
	}
	return configureBuildKit(t, toml)
}

func newSecurePodman(t *testing.T, from release, s *secure, cert pair) *podman {
	t.Helper()
	p := startPodman(t, from, nil)
	p.home.write(t, "registries.conf", fmt.Sprintf("unqualified-search-registries = []\n[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = %q\n", s.address))
	p.flags = []string{"--cert-dir", strings.TrimSuffix(p.home.trust(t, s, cert), "/")}
	return p
}

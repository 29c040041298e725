//go:build e2e

package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	cosignrule "mirrord/internal/cosign"
	"mirrord/internal/cosign/cosigntest"
)

// TestCosignRule pulls through a mirror that requires signatures of cosign, by each kind
// of key and in both formats. cosign verifies through it, too.
func TestCosignRule(t *testing.T) {
	for _, kind := range []string{"tag", "bundle"} {
		for _, key := range []string{"generated", "RSA", "Ed25519", "P-384"} {
			t.Run(kind+" "+key, func(t *testing.T) {
				hub, c := startHub(t), newCosign(t)
				if key != "generated" {
					c.importKey(t, key)
				}
				m := startDaemon(t, "--upstream", "name=docker.io,url="+hub.URL(),
					"--access-rule", "require_signature="+c.home.path("cosign.pub"))
				signed, plain := c.publish(t, hub, "signed", kind, 1), publishPinned(t, hub, "plain", 2)

				spent(t, hub, m, "cold", func() { m.cache(t, signed) })
				// cosign 3.1 signs with SHA-384 and Ed25519ph, and verifies neither.
				if err := c.verify(at(m.address, signed)); err != nil && key != "P-384" && key != "Ed25519" {
					t.Error(err)
				}
				hub.Down()
				spent(t, hub, m, "hub down", func() { m.cache(t, signed) })
				hub.Up()
				repository, digest, _ := strings.Cut(strings.TrimPrefix(plain.ref, "docker.io/"), "@")
				if resp := m.get(t, "/v2/"+repository+"/manifests/"+digest); resp.StatusCode != http.StatusForbidden {
					t.Errorf("an image without a signature: %s", resp.Status)
				}
			})
		}
	}
}

// importKey replaces the key pair by one of another kind.
func (c *cosign) importKey(t *testing.T, kind string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(newPrivateKey(t, kind))
	if err != nil {
		t.Fatal(err)
	}
	file := c.home.path("imported.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cosign.key", "cosign.pub"} {
		if err := os.Remove(c.home.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	c.must(t, "import-key-pair", "--key", file, "--output-key-prefix", "cosign")
}

func newPrivateKey(t *testing.T, kind string) (key crypto.PrivateKey) {
	t.Helper()
	var err error
	switch kind {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestSignedIndex pulls an image for several platforms of which only the index is signed,
// as cosign signs, and one that nobody has signed: every client gets the first, and none
// the second.
func TestSignedIndex(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			hub, file := startHub(t), newHome(t).path("cosign.pub")
			key := cosigntest.NewKey(t, "P-256")
			key.WritePublic(t, file)
			img, plain := publishIndex(t, hub), publishOne(t, hub, "plain", 2)
			key.SignBundle(t, hub, "library/busybox", digest.Digest(img.manifests[0]), cosignrule.SignPredicate)
			m := startDaemon(t, "--upstream", "name=docker.io,url="+hub.URL(), "--access-rule", "require_signature="+file)
			c := family.start(t, m.address)
			n := spent(t, hub, m, "signed", func() {
				if err := c.pull(img.ref); err != nil {
					t.Error(err)
				}
			})
			if n.ManifestGETs > len(img.manifests)+1 {
				t.Errorf("%d manifest GETs, want the image and one signature", n.ManifestGETs)
			}
			if err := c.pull(plain.ref); err == nil {
				t.Error("an image without a signature was pulled")
			}
		})
	}
}

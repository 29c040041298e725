// Package cosigntest signs images as cosign does, for tests.
package cosigntest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"mirrord/internal/cosign"
)

// Key is a key pair.
type Key struct{ signer signature.SignerVerifier }

// Kinds are the kinds of keys that cosign makes or imports, with the ways in which its
// versions sign.
var Kinds = []string{"P-256", "P-384", "P-384/256", "P-521", "RSA", "Ed25519", "Ed25519ph"}

// NewKey returns a new key pair of one of Kinds.
func NewKey(t testing.TB, kind string) *Key {
	t.Helper()
	private, err := generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.LoadDefaultSignerVerifier(private)
	switch kind {
	case "P-384/256":
		signer, err = signature.LoadSignerVerifier(private, crypto.SHA256)
	case "Ed25519ph":
		signer, err = signature.LoadDefaultSignerVerifier(private, options.WithED25519ph())
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Key{signer}
}

func generate(kind string) (crypto.PrivateKey, error) {
	switch kind {
	case "RSA":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "Ed25519", "Ed25519ph":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "P-256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
}

// WritePublic writes the public key to a file.
func (k *Key) WritePublic(t testing.TB, file string) {
	t.Helper()
	public, err := k.signer.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Payload returns what cosign signs for the tag format, and its signature.
func (k *Key) Payload(t testing.TB, image digest.Digest) (raw []byte, encoded string) {
	t.Helper()
	raw = fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"example.com/app"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, image)
	return raw, k.Sign(t, raw)
}

// Sign returns the signature of raw in base64.
func (k *Key) Sign(t testing.TB, raw []byte) string {
	t.Helper()
	sig, err := k.signer.SignMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// Bundle returns a bundle with a signed statement about image.
func (k *Key) Bundle(t testing.TB, image digest.Digest, predicate string) []byte {
	t.Helper()
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{%q:%q}}],"predicateType":%q,"predicate":{}}`,
		image.Algorithm(), image.Encoded(), predicate)
	envelope, err := dsse.WrapSigner(k.signer, "application/vnd.in-toto+json").SignMessage(bytes.NewReader([]byte(statement)))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":""}},"dsseEnvelope":%s}`, envelope)
}

// Store is a registry to which things can be added.
type Store interface {
	AddBlob(repo string, content []byte) digest.Digest
	AddManifest(repo, tag, mediaType string, raw []byte) digest.Digest
}

// SignTag adds the signature of image, as cosign 2 writes it.
func (k *Key) SignTag(t testing.TB, to Store, repo string, image digest.Digest) digest.Digest {
	t.Helper()
	raw, encoded := k.Payload(t, image)
	layer := ocispec.Descriptor{
		MediaType: cosign.SimpleSigning, Digest: to.AddBlob(repo, raw), Size: int64(len(raw)),
		Annotations: map[string]string{cosign.SignatureAnnotation: encoded},
	}
	return add(t, to, repo, "sha256-"+image.Encoded()+".sig", ocispec.Manifest{
		Config: empty(to, repo, ocispec.MediaTypeImageConfig), Layers: []ocispec.Descriptor{layer},
	})
}

// SignBundle adds a bundle that refers to image, as cosign 3 writes it.
func (k *Key) SignBundle(t testing.TB, to Store, repo string, image digest.Digest, predicate string) digest.Digest {
	t.Helper()
	raw := k.Bundle(t, image, predicate)
	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	return add(t, to, repo, "", ocispec.Manifest{
		ArtifactType: bundle,
		Config:       empty(to, repo, ocispec.MediaTypeEmptyJSON),
		Layers:       []ocispec.Descriptor{{MediaType: bundle, Digest: to.AddBlob(repo, raw), Size: int64(len(raw))}},
		Subject:      &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: image},
		Annotations:  map[string]string{cosign.PredicateAnnotation: predicate},
	})
}

func empty(to Store, repo, mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: to.AddBlob(repo, []byte("{}")), Size: 2}
}

func add(t testing.TB, to Store, repo, tag string, m ocispec.Manifest) digest.Digest {
	t.Helper()
	m.SchemaVersion, m.MediaType = 2, ocispec.MediaTypeImageManifest
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return to.AddManifest(repo, tag, m.MediaType, raw)
}

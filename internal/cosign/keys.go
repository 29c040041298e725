package cosign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// Keys are public keys, any of which may have made a signature.
type Keys struct{ verifiers []signature.Verifier }

const maxKeyFile = 1 << 16 // bytes

// LoadKeys reads public keys of ECDSA, RSA or Ed25519, each from a file in PEM form. It
// fails with what is wrong with the first file that cannot be used, and what to do.
func LoadKeys(files []string) (Keys, error) {
	var keys Keys
	for _, file := range files {
		raw, err := readKeyFile(file)
		if err != nil {
			return Keys{}, fmt.Errorf("%w; write the file with the public key, such as cosign.pub", err)
		}
		verifiers, err := parseKey(raw)
		if err != nil {
			return Keys{}, fmt.Errorf("key %s: %w", file, err)
		}
		keys.verifiers = append(keys.verifiers, verifiers...)
	}
	return keys, nil
}

func readKeyFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

var errNotKey = errors.New("is not a public key in PEM form; write it as cosign public-key --key cosign.key does")

// parseKey returns the verifiers of a public key.
func parseKey(raw []byte) ([]signature.Verifier, error) {
	block, rest := pem.Decode(raw)
	switch {
	case block == nil:
		return nil, errNotKey
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return nil, errors.New("is a private key; write the public key, such as cosign.pub, and keep this one off the mirror")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("has something after the first key; write each key into a file of its own")
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errNotKey, err)
	}
	return verifiersOf(key)
}

// verifiersOf returns the verifiers of what versions of cosign sign with a key: with the
// hash that suits it, always with SHA-256, or with Ed25519ph.
func verifiersOf(key crypto.PublicKey) ([]signature.Verifier, error) {
	suited, err := signature.LoadDefaultVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("cannot be used: %w; write a key of ECDSA (P-256, P-384, P-521), Ed25519, or RSA with 2048, 3072 or 4096 bits", err)
	}
	others := []signature.LoadOption{options.WithHash(crypto.SHA256)}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return []signature.Verifier{suited}, nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return []signature.Verifier{suited}, nil
		}
	case ed25519.PublicKey:
		others = append(others, options.WithED25519ph())
	}
	other, err := signature.LoadVerifierWithOpts(key, others...)
	if err != nil {
		return nil, fmt.Errorf("cannot be used: %w", err)
	}
	return []signature.Verifier{suited, other}, nil
}

package cosign_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/cosign"
	"mirrord/internal/cosign/cosigntest"
)

var (
	image = digest.FromString("image")
	other = digest.FromString("other")
)

func load(t testing.TB, keys ...*cosigntest.Key) cosign.Keys {
	t.Helper()
	var files []string
	for i, k := range keys {
		files = append(files, filepath.Join(t.TempDir(), fmt.Sprint(i, ".pub")))
		k.WritePublic(t, files[i])
	}
	loaded, err := cosign.LoadKeys(files)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// Each kind of key signs in both formats. A signature by another key, or for another
// image, is none.
func TestVerify(t *testing.T) {
	for _, kind := range cosigntest.Kinds {
		t.Run(kind, func(t *testing.T) {
			key, stranger := cosigntest.NewKey(t, kind), cosigntest.NewKey(t, kind)
			one, both, none := load(t, key), load(t, stranger, key), load(t, stranger)
			payload, encoded := key.Payload(t, image)
			bundle := key.Bundle(t, image, cosign.SignPredicate)
			for _, keys := range []cosign.Keys{one, both} {
				if err := keys.VerifyPayload(payload, encoded, image.String()); err != nil {
					t.Errorf("payload: %v", err)
				}
				if err := keys.VerifyBundle(bundle, image.String()); err != nil {
					t.Errorf("bundle: %v", err)
				}
			}
			for name, err := range map[string]error{
				"payload, key":   none.VerifyPayload(payload, encoded, image.String()),
				"payload, image": one.VerifyPayload(payload, encoded, other.String()),
				"payload, text":  one.VerifyPayload(append(payload, ' '), encoded, image.String()),
				"bundle, key":    none.VerifyBundle(bundle, image.String()),
				"bundle, image":  one.VerifyBundle(bundle, other.String()),
				"no keys":        cosign.Keys{}.VerifyBundle(bundle, image.String()),
			} {
				if err == nil {
					t.Errorf("%s: accepted", name)
				}
			}
		})
	}
}

// What is signed must be a signature of cosign.
func TestVerifyRefuses(t *testing.T) {
	key := cosigntest.NewKey(t, "P-256")
	keys := load(t, key)
	payload, _ := key.Payload(t, image)
	for _, raw := range []string{
		strings.Replace(string(payload), "cosign container image signature", "atomic container signature", 1),
		`{}`, `null`, `7`, ``,
	} {
		if keys.VerifyPayload([]byte(raw), key.Sign(t, []byte(raw)), image.String()) == nil {
			t.Errorf("payload %s accepted", raw)
		}
	}
	if keys.VerifyPayload(payload, "%", image.String()) == nil || keys.VerifyPayload(payload, "", image.String()) == nil {
		t.Error("no signature accepted")
	}
	bundle := string(key.Bundle(t, image, cosign.SignPredicate))
	signature := bundle[strings.Index(bundle, `"signatures":[`)+len(`"signatures":[`) : strings.LastIndex(bundle, "]")]
	for name, raw := range map[string]string{
		"attestation":    string(key.Bundle(t, image, "https://slsa.dev/provenance/v1")),
		"two signatures": strings.Replace(bundle, signature, signature+","+signature, 1),
		"no signature":   strings.Replace(bundle, signature, "", 1),
		"other payload":  strings.Replace(bundle, "vnd.in-toto+json", "vnd.example+json", 1),
		"no bundle":      strings.Replace(bundle, "dev.sigstore", "dev.example", 1),
		"no envelope":    `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`,
		"null":           `null`,
		"empty":          ``,
	} {
		if raw == bundle {
			t.Fatalf("%s: nothing is replaced", name)
		}
		if keys.VerifyBundle([]byte(raw), image.String()) == nil {
			t.Errorf("bundle with %s accepted", name)
		}
	}
	if keys.VerifyBundle(otherPayload(t, key), image.String()) == nil {
		t.Error("bundle with another type of payload accepted")
	}
	if keys.VerifyBundle([]byte(bundle), "sha256") == nil {
		t.Error("bundle for no digest accepted")
	}
}

// otherPayload returns a bundle whose payload could be a statement, but is signed as
// something else.
func otherPayload(t *testing.T, key *cosigntest.Key) []byte {
	const payloadType = "application/vnd.example+json"
	statement := fmt.Sprintf(`{"subject":[{"digest":{"sha256":%q}}],"predicateType":%q}`, image.Encoded(), cosign.SignPredicate)
	signed := fmt.Sprintf("DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(statement), statement)
	return fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payloadType":%q,"payload":%q,"signatures":[{"sig":%q}]}}`,
		payloadType, base64.StdEncoding.EncodeToString([]byte(statement)), key.Sign(t, []byte(signed)))
}

func TestLoadKeys(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.pub")
	cosigntest.NewKey(t, "P-256").WritePublic(t, good)
	public, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ content, want string }{
		"empty":   {"", "is not a public key in PEM form"},
		"text":    {"ssh-ed25519 AAAA", "is not a public key in PEM form"},
		"private": {"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "is a private key; write the public key"},
		"two":     {string(public) + string(public), "write each key into a file of its own"},
		"broken":  {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key in PEM form"},
		"weak":    {weakKey, "cannot be used"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := cosign.LoadKeys([]string{good, file}); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := cosign.LoadKeys([]string{filepath.Join(dir, "missing")}); err == nil || !strings.Contains(err.Error(), "no such file or directory; write the file") {
		t.Errorf("missing: %v", err)
	}
}

// weakKey is one of RSA with 1024 bits.
const weakKey = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCrsdTLifpoY9cFsLgAnuwCT0av
hS92PDqLLoAOVnGAl6WI1s/cyoCjnL1q5DwqTVpQqWULFtuKa4KTH4UATWPEdYm3
wBwdi834zWvyTocGNO9wNvedRYtlLYAOj1M0HSGoyA8oRbRehAKFlre2o1ugKkdl
wsjNRMNIDYUJdNV6QwIDAQAB
-----END PUBLIC KEY-----
`

// Whatever a registry sends, nothing panics, and nothing is a signature.
func FuzzVerify(f *testing.F) {
	key := cosigntest.NewKey(f, "P-256")
	keys := load(f, cosigntest.NewKey(f, "P-384"))
	payload, encoded := key.Payload(f, image)
	f.Add(payload, encoded)
	f.Add(key.Bundle(f, image, cosign.SignPredicate), "")
	f.Add([]byte(`{"dsseEnvelope":{"signatures":[null]},"mediaType":"application/vnd.dev.sigstore.bundle"}`), "AA==")
	f.Fuzz(func(t *testing.T, raw []byte, encoded string) {
		if keys.VerifyPayload(raw, encoded, image.String()) == nil || keys.VerifyBundle(raw, image.String()) == nil {
			t.Error("accepted")
		}
	})
}

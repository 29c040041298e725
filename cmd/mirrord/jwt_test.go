package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ci is a CI system that issues tokens. Its keys are not where discovery would find them.
type ci struct {
	url, ca string
	key     jose.JSONWebKey
}

func newCI(t *testing.T) *ci {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &ci{key: jose.JSONWebKey{Key: private, KeyID: "1"}, ca: filepath.Join(t.TempDir(), "ca.pem")}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/odd/keys" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{c.key.Public()}})
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	check(t, os.WriteFile(c.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return c
}

func (c *ci) token(t *testing.T, subject, audience string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: c.key}, nil)
	check(t, err)
	claims, err := json.Marshal(map[string]any{"iss": c.url, "sub": subject, "aud": audience, "exp": time.Now().Add(time.Hour).Unix()})
	check(t, err)
	signed, err := signer.Sign(claims)
	check(t, err)
	token, err := signed.CompactSerialize()
	check(t, err)
	return token
}

// All settings of an issuer reach the verification of its tokens.
func TestJWTLogin(t *testing.T) {
	rec, c := newRecorded(t), newCI(t)
	address := mustAddress(t)
	configured(t, "listeners: [{address: '@ADDRESS@', auth: {jwt: [{issuer: '@CI@', audience: mirror, subjects: 'repo:acme/*', jwks_url: '@CI@/odd/keys', ca_file: @CA@}]}}]\n"+
		"upstreams: [{name: docker.io, url: '@HUB@'}]\n", "@ADDRESS@", address, "@CI@", c.url, "@CA@", c.ca, "@HUB@", rec.url)
	for _, test := range []struct {
		subject, audience string
		want              int
	}{
		{"repo:acme/app", "mirror", http.StatusOK},
		{"repo:acme/app", "other", http.StatusUnauthorized},
		{"repo:evil/app", "mirror", http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v2/library/a/manifests/latest", nil)
		check(t, err)
		req.Header.Set("Authorization", "Bearer "+c.token(t, test.subject, test.audience))
		resp, err := client.Do(req)
		check(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s for %s: %s, want %d", test.subject, test.audience, resp.Status, test.want)
		}
	}
}

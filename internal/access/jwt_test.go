package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

// provider is an OpenID Connect provider over TLS.
type provider struct {
	*httptest.Server

	mu       sync.Mutex // guards all below
	keys     []jose.JSONWebKey
	secret   []byte         // published by mistake
	requests map[string]int // by path
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{requests: make(map[string]int)}
	p.Server = httptest.NewUnstartedServer(p)
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[r.URL.Path]++
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"HS256", "none"}})
	case "/keys":
		var set jose.JSONWebKeySet
		for _, key := range p.keys {
			set.Keys = append(set.Keys, key.Public())
		}
		if p.secret != nil {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: p.secret, KeyID: "secret"})
		}
		_ = json.NewEncoder(w).Encode(set)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (p *provider) asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// newKey replaces the keys of the provider by a new one.
func (p *provider) newKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	key := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(jose.ES256)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = []jose.JSONWebKey{key}
	return key
}

// claims are those of a valid token, changed in pairs of a name and a value.
func (p *provider) claims(changes ...any) map[string]any {
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "sub": "repo:acme/app:ref:refs/heads/main", "aud": []string{"mirror", "other"}, "exp": now.Add(time.Hour).Unix(), "nbf": now.Unix()}
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	return claims
}

func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	check(t, err)
	raw, err := json.Marshal(claims)
	check(t, err)
	signed, err := signer.Sign(raw)
	check(t, err)
	token, err := signed.CompactSerialize()
	check(t, err)
	return token
}

// issuerOf is the configuration for a provider.
func (w *world) issuerOf(t *testing.T, p *provider) Issuer {
	t.Helper()
	ca := w.write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})))
	return Issuer{URL: p.URL, Audience: "mirror", Subjects: []string{"repo:acme/*", "system:serviceaccount:ci:*"}, CAFile: ca}
}

func TestJWT(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	key := p.newKey(t, "1")
	p.secret = []byte(strings.Repeat("k", 32))
	other := newProvider(t).newKey(t, "1")
	a := w.auth(t, AuthOptions{Issuers: []Issuer{w.issuerOf(t, p)}})
	good := sign(t, jose.ES256, key, p.claims())
	unsigned := "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + "."
	for name, test := range map[string]struct {
		set  func(*http.Request)
		want string // name, or beginning with ! what the refusal says
	}{
		"bearer":             {bearer(good), "jwt:repo:acme/app:ref:refs/heads/main"},
		"password":           {basic("x", good), "jwt:repo:acme/app:ref:refs/heads/main"},
		"service account":    {bearer(sign(t, jose.ES256, key, p.claims("sub", "system:serviceaccount:ci:default"))), "jwt:system:serviceaccount:ci:default"},
		"stranger":           {bearer(sign(t, jose.ES256, key, p.claims("sub", "repo:evil/app:ref:refs/heads/acme"))), "!the subject of the token is not accepted"},
		"no subject":         {bearer(sign(t, jose.ES256, key, p.claims("sub", ""))), "!the subject of the token"},
		"line in subject":    {bearer(sign(t, jose.ES256, key, p.claims("sub", "repo:acme/\n"))), "!the subject of the token"},
		"another audience":   {bearer(sign(t, jose.ES256, key, p.claims("aud", "other"))), `!signed by ` + p.URL + ` for the audience "mirror"`},
		"another issuer":     {bearer(sign(t, jose.ES256, key, p.claims("iss", "https://evil.example"))), "!the issuer of the token is not accepted"},
		"expired":            {bearer(sign(t, jose.ES256, key, p.claims("exp", time.Now().Add(-time.Second).Unix()))), "!the token has expired at 20"},
		"no end":             {bearer(sign(t, jose.ES256, key, p.claims("exp", nil))), "!not valid"},
		"not yet":            {bearer(sign(t, jose.ES256, key, p.claims("nbf", time.Now().Add(time.Hour).Unix()))), "!not valid"},
		"another key":        {bearer(sign(t, jose.ES256, other, p.claims())), "!not valid"},
		"symmetric":          {bearer(sign(t, jose.HS256, p.secret, p.claims())), "!not valid"},
		"unsigned":           {bearer(unsigned), "!not valid"},
		"nonsense":           {bearer("ey.ey.ey"), "!the issuer of the token"},
		"password, no token": {basic("x", "y"), "!this mirror requires a login"},
	} {
		w.Gate.failures = newFailures()
		a.verifiers[0].(*issuers).all[0].client.Transport.(*frugal).limit.SetLimit(rate.Inf)
		names, err := w.login(a, home, test.set)
		if want, refused := strings.CutPrefix(test.want, "!"); refused {
			if oci.CodeOf(err) != oci.Unauthorized || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, %v; want %s", name, names, err, want)
			}
		} else if err != nil || !slices.Equal(names, []string{test.want}) {
			t.Errorf("%s: %v, %v; want %s", name, names, err, test.want)
		}
	}
	if len(w.broken) > 0 {
		t.Errorf("reported: %v", w.broken)
	}
	if n := p.asked("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("%d discoveries", n)
	}
	for _, f := range w.failures {
		if f.Method != JWT {
			t.Errorf("reported: %+v", f)
		}
	}
}

// A key that replaces another one is found, but someone who invents names of keys does
// not make the mirror ask for each.
func TestKeysAreReplaced(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	a := w.auth(t, AuthOptions{Issuers: []Issuer{w.issuerOf(t, p)}})
	first := sign(t, jose.ES256, p.newKey(t, "1"), p.claims())
	_, err := w.login(a, home, bearer(first))
	check(t, err)
	second := sign(t, jose.ES256, p.newKey(t, "2"), p.claims())
	_, err = w.login(a, home, bearer(second))
	check(t, err)
	stranger := newProvider(t)
	for i := range 30 {
		token := sign(t, jose.ES256, stranger.newKey(t, strings.Repeat("k", i+1)), p.claims())
		if _, err := w.login(a, home, bearer(token)); err == nil {
			t.Fatal("accepted")
		}
	}
	if n := p.asked("/keys"); n > 4 {
		t.Errorf("asked for its keys %d times", n)
	}
}

// A token is remembered, but not beyond its end.
func TestTokenIsRememberedUntilItsEnd(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	a := w.auth(t, AuthOptions{Issuers: []Issuer{w.issuerOf(t, p)}})
	end := time.Now().Add(30 * time.Second).Truncate(time.Second)
	token := sign(t, jose.ES256, p.newKey(t, "1"), p.claims("exp", end.Unix()))
	_, err := w.login(a, home, bearer(token))
	check(t, err)
	if known, ok := a.verifiers[0].recall(newCredential(a.gate.key, "", token, false).id); !ok || !known.until.Equal(end) {
		t.Errorf("remembered until %s, want %s", known.until, end)
	}

	m := newMemory()
	m.add(fingerprint{1}, "a", time.Now().Add(time.Second))
	m.add(fingerprint{2}, "b", time.Now().Add(time.Hour))
	for id, most := range map[byte]time.Duration{1: time.Second, 2: rememberFor} {
		if p, ok := m.recall(fingerprint{id}); !ok || time.Until(p.until) > most || time.Until(p.until) < most-time.Second/2 {
			t.Errorf("%d: %v for %s, want %s", id, ok, time.Until(p.until), most)
		}
	}
}

// While the issuer is down a token is neither right nor wrong. It is found when it comes
// up, and what was verified stays when it goes down.
func TestIssuerIsDown(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	i := w.issuerOf(t, p)
	key := p.newKey(t, "1")
	token := sign(t, jose.ES256, key, p.claims())
	i.URL = "https://127.0.0.1:1" // nothing listens there
	claims := p.claims("iss", i.URL)
	a := w.auth(t, AuthOptions{Issuers: []Issuer{i}})
	for range 2 * maxFailures {
		_, err := w.login(a, home, bearer(sign(t, jose.ES256, key, claims)))
		if oci.CodeOf(err) != oci.Unavailable || !oci.Temporary(err) {
			t.Fatalf("down: %v", err)
		}
	}
	if len(w.failures) > 0 || len(w.broken) != 1 {
		t.Errorf("failed logins: %v, reports: %v", w.failures, w.broken)
	}

	s := a.verifiers[0].(*issuers).all[0]
	s.URL, s.tried = p.URL, time.Time{} // now something does, and some seconds have passed
	_, err := w.login(a, home, bearer(token))
	check(t, err)
	p.Close()
	s.known.Load().found = time.Now().Add(-refreshEvery)
	s.tried = time.Time{}
	if _, err := w.login(a, home, bearer(sign(t, jose.ES256, key, p.claims("sub", "repo:acme/b")))); err != nil {
		t.Errorf("with the keys of before: %v", err)
	}
	if len(w.broken) != 2 {
		t.Errorf("reports: %v", w.broken)
	}
}

// An issuer by HTTPS does not send the mirror to keys that somebody on the way can replace.
func TestStaySecure(t *testing.T) {
	secure, plain := httptest.NewRequest(http.MethodGet, "https://a/", nil), httptest.NewRequest(http.MethodGet, "http://a/", nil)
	if staySecure(plain, []*http.Request{secure, secure}) == nil {
		t.Error("from HTTPS to HTTP")
	}
	if staySecure(secure, []*http.Request{plain}) != nil || staySecure(plain, []*http.Request{plain}) != nil {
		t.Error("a redirect is refused")
	}
	if staySecure(secure, []*http.Request{secure, secure, secure, secure, secure}) == nil {
		t.Error("too many")
	}
}

// Discovery must not lead away from HTTPS, and a failure is reported in brief.
func TestBadDiscovery(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]string{
		`{"issuer": "@", "jwks_uri": "http://127.0.0.1:1/keys"}`: `its keys are at "http://127.0.0.1:1/keys", which is not HTTPS`,
		`{"issuer": "@"}`: `its keys are at ""`,
		`{"issuer": "https://evil.example", "jwks_uri": "@/keys"}`:                               "did not match",
		`{"issuer": "@", "jwks_uri": "@/keys", "x": "` + strings.Repeat("x", issuerBytes) + `"}`: "failed to decode",
		strings.Repeat("x", 1000): "failed to decode",
	} {
		p := &provider{}
		p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(strings.ReplaceAll(body, "@", p.URL)))
		}))
		a := w.auth(t, AuthOptions{Issuers: []Issuer{w.issuerOf(t, p)}})
		_, err := w.login(a, home, bearer(sign(t, jose.ES256, p.newKey(t, "1"), p.claims())))
		p.Close()
		last := w.broken[len(w.broken)-1].Error()
		if oci.CodeOf(err) != oci.Unavailable || strings.Contains(err.Error(), "keys are") || !strings.Contains(last, want) || len(last) > 1000 {
			t.Errorf("%.60s: %v, reported %q, want %q", body, err, last, want)
		}
	}
}

// An issuer without discovery is asked for its keys only.
func TestKeysWithoutDiscovery(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	i := w.issuerOf(t, p)
	i.JWKSURL = p.URL + "/keys"
	a := w.auth(t, AuthOptions{Issuers: []Issuer{i}})
	_, err := w.login(a, home, bearer(sign(t, jose.ES256, p.newKey(t, "1"), p.claims())))
	check(t, err)
	if p.asked("/.well-known/openid-configuration") != 0 || p.asked("/keys") != 1 {
		t.Errorf("asked: %v", p.requests)
	}
}

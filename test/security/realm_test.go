package security

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	user     = "mirror-user"
	password = "PASSWORD-SHALL-NOT-LEAK"
	token    = "TOKEN-SHALL-NOT-LEAK"
)

// basicLogin is what a login looks like in a header.
var basicLogin = base64.StdEncoding.EncodeToString([]byte(user + ":" + password))

// requiring is a registry whose token service has that address.
func requiring(realm string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%q,service=\"registry.example\"", realm))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func issueToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"token":%q}`, token)
}

// wantNoSecrets fails when a host that is not allowed has seen the login or the token.
func (i *internet) wantNoSecrets(t *testing.T, allowed ...string) {
	t.Helper()
	for _, v := range i.all() {
		sent := fmt.Sprint(v.uri, v.header, v.body)
		for _, secret := range []string{password, basicLogin, token} {
			if strings.Contains(sent, secret) && !slices.Contains(allowed, v.host) {
				t.Errorf("%s was sent a secret: %s", v.host, sent)
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, header := range i.clear {
		if sent := fmt.Sprint(header); strings.Contains(sent, password) || strings.Contains(sent, basicLogin) || strings.Contains(sent, token) {
			t.Errorf("the proxy was sent a secret: %s", sent)
		}
	}
}

// A login goes to no token service that is not the registry's, and no token service is
// on this machine or in its network.
func TestRealmsLeadNowhereElse(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	realms := append(elsewhere(trap.port), byName(trap.port)...)
	realms = append(realms,
		"https://evil.example/token", "http://auth.registry.example/token", "https://registry.example.evil.example/token", "https://evilregistry.example/token",
		"https://registry.example@evil.example/token", "https://evil.example/token#@registry.example", "https://evil.example\\@registry.example/token", "/token", "",
	)
	for _, realm := range realms {
		t.Run(realm, func(t *testing.T) {
			t.Parallel()
			wantNoExchange(t, trap, realm, "registry.example", "evil.example")
			if !strings.Contains(realm, "auth.registry.example:") { // where that leads is decided by the proxy
				wantNoExchange(t, trap, realm)
			}
		})
	}
}

// wantNoExchange pulls from a registry whose token service must not be asked.
func wantNoExchange(t *testing.T, trap *trap, realm string, proxied ...string) {
	t.Helper()
	i := newInternet(t)
	i.serve(registry, requiring(realm, http.NotFound))
	i.serve("https://evil.example", issueToken)
	u := withLogin(t, upstreamOf(t, i, "registry.example", registry, proxied...), user, password)
	wantRefused(t, oneRequest(), handlerOf(t, u), i, trap, registry)
	i.wantNoSecrets(t)
}

// A token service that redirects gets no login sent elsewhere, nor a token from there.
func TestTokenServiceLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	for _, to := range append(elsewhere(trap.port), byName(trap.port)...) {
		if strings.Contains(to, "auth.registry.example") {
			continue // it is behind the proxy here
		}
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			i := newInternet(t)
			i.serve(registry, requiring("https://auth.registry.example/token", http.NotFound))
			i.serve("https://auth.registry.example", leading(to))
			i.serve("http://cdn.example.net", issueToken)
			i.serve("http://registry.example", issueToken)
			u := upstreamOf(t, i, "registry.example", registry, "registry.example", "auth.registry.example", "cdn.example.net")
			wantRefused(t, oneRequest(), handlerOf(t, u), i, trap, registry, "https://auth.registry.example")
			wantRefused(t, oneRequest(), handlerOf(t, withLogin(t, u, user, password)), i, trap, registry, "https://auth.registry.example")
			i.wantNoSecrets(t, "https://auth.registry.example")
		})
	}
}

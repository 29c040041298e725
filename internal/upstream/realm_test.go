package upstream

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"mirrord/internal/oci"
)

func TestCheckRealm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		upstream, realm string
		ok              bool
		hosts           []string
	}{
		{"https://registry-1.docker.io", "https://auth.docker.io/token", true, nil},
		{"https://ghcr.io", "https://ghcr.io/token", true, nil},
		{"https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true, nil},
		{"https://registry-1.docker.io", "http://auth.docker.io/token", false, nil},
		{"https://registry-1.docker.io", "https://auth.docker.io.evil.example/token", false, nil},
		{"https://registry-1.docker.io", "https://evil.example/token", false, nil},
		{"https://registry-1.docker.io", "https://auth.docker.io@evil.example/token", false, nil},
		{"https://a.co.uk", "https://b.co.uk/token", false, nil},
		{"https://a.github.io", "https://b.github.io/token", false, nil},
		{"https://registry.corp.internal", "https://auth.corp.internal/token", true, nil},
		{"https://registry.internal", "https://auth.internal/token", false, nil},
		{"http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true, nil},
		{"http://127.0.0.1:5000", "http://127.0.0.2:5000/token", false, nil},
		{"http://127.0.0.1:5000", "http://localhost:5000/token", false, nil},
		{"https://registry-1.docker.io", "https://169.254.169.254/", false, nil},
		{"https://mine.azurecr.io", "https://mine.azurecr.io/oauth2/token", true, nil},
		{"https://mine.azurecr.io", "https://other.azurecr.io/oauth2/token", false, nil},
		{"https://1.dkr.ecr.eu-west-1.amazonaws.com", "https://2.dkr.ecr.eu-west-1.amazonaws.com/", false, nil},
		{"https://lscr.io", "https://ghcr.io/token", true, []string{"ghcr.io"}},
		{"https://lscr.io", "https://lscr.io/token", true, []string{"ghcr.io"}},
		{"https://lscr.io", "https://pkg.ghcr.io/token", false, []string{"ghcr.io"}},
		{"https://lscr.io", "http://ghcr.io/token", false, []string{"ghcr.io"}},
		{"https://registry-1.docker.io", "https://hub.docker.io/token", false, []string{"auth.docker.io"}},
		{"https://a.example", "https://b.example:8443/token", true, []string{"b.example:8443"}},
		{"https://a.example", "https://b.example:8444/token", false, []string{"b.example:8443"}},
		{"https://registry-1.docker.io", "ftp://auth.docker.io/token", false, nil},
		{"https://registry-1.docker.io", "/token", false, nil},
		{"https://registry-1.docker.io", "", false, nil},
		{"https://registry-1.docker.io", "https://%zz/", false, nil},
	} {
		u, err := url.Parse(test.upstream)
		check(t, err)
		if err := checkRealm(u, test.hosts, test.realm); (err == nil) != test.ok {
			t.Errorf("%s names %q: %v, want ok %v", test.upstream, test.realm, err, test.ok)
		}
	}
}

func TestForeignRealmGetsNoLogin(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	thief := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	s := serve(t, challenging(func() string {
		return strings.Replace(thief.URL, "127.0.0.1", "localhost", 1) + "/token"
	}, answer(200, "")))
	c := connect(t, s.URL, "ann", "secret-pass")
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
	for _, req := range c.sent.all() {
		if req.Header.Get("Authorization") != "" {
			t.Errorf("sent a login to %s", req.URL)
		}
	}
	if asked.Load() != 0 {
		t.Error("the foreign token service was asked")
	}
}

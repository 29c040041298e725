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
	}{
		{"https://registry-1.docker.io", "https://auth.docker.io/token", true},
		{"https://ghcr.io", "https://ghcr.io/token", true},
		{"https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true},
		{"https://registry-1.docker.io", "http://auth.docker.io/token", false},
		{"https://registry-1.docker.io", "https://auth.docker.io.evil.example/token", false},
		{"https://registry-1.docker.io", "https://evil.example/token", false},
		{"https://registry-1.docker.io", "https://auth.docker.io@evil.example/token", false},
		{"https://a.co.uk", "https://b.co.uk/token", false},
		{"https://a.github.io", "https://b.github.io/token", false},
		{"https://registry.corp.internal", "https://auth.corp.internal/token", true},
		{"https://registry.internal", "https://auth.internal/token", false},
		{"http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true},
		{"http://127.0.0.1:5000", "http://127.0.0.2:5000/token", false},
		{"http://127.0.0.1:5000", "http://localhost:5000/token", false},
		{"https://registry-1.docker.io", "https://169.254.169.254/", false},
		{"https://registry-1.docker.io", "ftp://auth.docker.io/token", false},
		{"https://registry-1.docker.io", "/token", false},
		{"https://registry-1.docker.io", "", false},
		{"https://registry-1.docker.io", "https://%zz/", false},
	} {
		u, err := url.Parse(test.upstream)
		check(t, err)
		if err := checkRealm(u, test.realm); (err == nil) != test.ok {
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

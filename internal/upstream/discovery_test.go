package upstream

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// gateway is a registry whose tokens and challenges are set by a test. It takes
// the tokens of the path that realm names.
type gateway struct {
	*httptest.Server
	realm     atomic.Value // the path of its token service
	challenge func(realm string) []string
	open      bool             // its /v2/ is
	refuse    http.HandlerFunc // of tokens that are not good
}

func newGateway(t *testing.T, challenge func(realm string) []string) *gateway {
	g := &gateway{challenge: challenge}
	g.realm.Store("/token")
	g.Server = serve(t, g.serve)
	return g
}

func bearerOnly(realm string) []string {
	return []string{fmt.Sprintf(`Bearer realm=%q,service="gateway"`, realm)}
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	realm := g.realm.Load().(string)
	switch {
	case strings.HasPrefix(r.URL.Path, "/token") && r.URL.Path == realm:
		answer(200, fmt.Sprintf(`{"token":"of%s"}`, realm))(w, r)
	case strings.HasPrefix(r.URL.Path, "/token"):
		answer(404, "<html>gone", "Content-Type", "text/html")(w, r)
	case r.URL.Path == "/v2/" && g.open, r.Header.Get("Authorization") == "Bearer of"+realm:
		answer(200, "{}", "Content-Type", imageType)(w, r)
	case g.refuse != nil && r.Header.Get("Authorization") != "":
		g.refuse(w, r)
	default:
		for _, line := range g.challenge(g.URL + realm) {
			w.Header().Add("Www-Authenticate", line)
		}
		answer(401, `{"errors":[{"code":"UNAUTHORIZED"}]}`)(w, r)
	}
}

// Bearer is answered wherever it stands, and the login goes to its realm alone.
func TestBearerBeforeBasic(t *testing.T) {
	t.Parallel()
	for name, challenge := range map[string]func(realm string) []string{
		"one header":      func(realm string) []string { return []string{`Basic realm="a, b", ` + bearerOnly(realm)[0]} },
		"two headers":     func(realm string) []string { return []string{`Basic realm="a"`, bearerOnly(realm)[0]} },
		"unknown schemes": func(realm string) []string { return []string{"Negotiate, NTLM abc=", bearerOnly(realm)[0]} },
		"unquoted":        func(realm string) []string { return []string{"BEARER Realm=" + realm + ",Service=gateway"} },
	} {
		c := connect(t, newGateway(t, challenge).URL, "ann", "secret-pass")
		if _, err := read(t, c, manifestRef(t, "v1")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, req := range c.sent.all() {
			if header := req.Header.Get("Authorization"); strings.HasPrefix(header, "Basic") != (req.URL.Path == "/token") {
				t.Errorf("%s: sent %.6s to %s", name, header, req.URL)
			}
		}
	}
}

// A /v2/ that is open says nothing of the repositories: their 401 does.
func TestOpenRootAndTokensForContent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, bearerOnly)
	g.open = true
	c := connect(t, g.URL)
	for range 2 {
		_, err := read(t, c, manifestRef(t, "v1"))
		check(t, err)
	}
	if n := len(c.sent.all()); n != 5 { // the ping, a 401, the token, and two manifests
		t.Errorf("%d requests, want 5", n)
	}
}

// A /v2/ that is missing, or refuses without a way to log in, says nothing
// either; and the registry may be at a path.
func TestRootWithoutChallenge(t *testing.T) {
	t.Parallel()
	for _, root := range []http.HandlerFunc{answer(404, "<html>", "Content-Type", "text/html"), answer(401, ""), answer(403, "")} {
		g := newGateway(t, bearerOnly)
		c := connect(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/at/a/path/v2/" {
				root(w, r)
				return
			}
			g.serve(w, r)
		}).URL+"/at/a/path")
		_, err := read(t, c, manifestRef(t, "v1"))
		check(t, err)
		if at := c.sent.all()[0].URL.Path; at != "/at/a/path/v2/" {
			t.Errorf("pinged at %s", at)
		}
	}
}

// A registry may move its token service while the old one still answers, or
// after it is gone: no restart is needed.
func TestTokenServiceMoves(t *testing.T) {
	g := newGateway(t, bearerOnly)
	u, err := url.Parse(g.URL)
	check(t, err)
	synctest.Test(t, func(t *testing.T) {
		c := connectBy(t, u, inProcess{http.HandlerFunc(g.serve)}, "ann", "secret-pass")
		for _, realm := range []string{"/token", "/token2", "/token3"} {
			g.realm.Store(realm)
			_, err := read(t, c, manifestRef(t, "v1")) // what was got before is refused with another realm
			check(t, err)
		}
		g.realm.Store("/token4")
		<-time.After(time.Hour) // what was got before has expired, and its renewal fails
		_, err := read(t, c, manifestRef(t, "v1"))
		check(t, err)
	})
}

// The login goes to no realm that a 401 names in another domain: neither when
// there is a good one, nor for the first.
func TestForeignRealmOfContent(t *testing.T) {
	t.Parallel()
	thief := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	foreign := strings.Replace(thief.URL, "127.0.0.1", "localhost", 1) + "/token"
	for _, open := range []bool{false, true} {
		g := newGateway(t, func(realm string) []string { return bearerOnly(foreign) })
		if g.open = open; !open {
			g.challenge = bearerOnly
		}
		c := connect(t, g.URL, "ann", "secret-pass")
		if !open {
			_, err := read(t, c, manifestRef(t, "v1"))
			check(t, err)
			g.challenge = func(string) []string { return bearerOnly(foreign) }
			g.realm.Store("/token2")
		}
		_, err := read(t, c, manifestRef(t, "v1"))
		c.wantCode(t, err, oci.Unavailable)
		if !strings.Contains(fmt.Sprint(err), "does not belong to") {
			t.Errorf("%v does not say why", err)
		}
	}
}

// A registry may go over from one scheme to the other.
func TestSchemeChanges(t *testing.T) {
	var wants atomic.Value
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	handle := func(w http.ResponseWriter, r *http.Request) {
		scheme := wants.Load().(string)
		switch given, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); {
		case r.URL.Path == "/token":
			answer(200, `{"token":"abc"}`)(w, r)
		case given == scheme:
			answer(200, "{}", "Content-Type", imageType)(w, r)
		default:
			answer(401, "", "Www-Authenticate", fmt.Sprintf(`%s realm="%s/token"`, scheme, s.URL))(w, r)
		}
	}
	u, err := url.Parse(s.URL)
	check(t, err)
	synctest.Test(t, func(t *testing.T) {
		c := connectBy(t, u, inProcess{http.HandlerFunc(handle)}, "ann", "secret-pass")
		for _, scheme := range []string{"Basic", "Bearer", "Basic"} {
			wants.Store(scheme)
			_, err := read(t, c, manifestRef(t, "v1"))
			check(t, err)
			<-time.After(recheckTime)
		}
	})
}

// Harbor speaks of Basic when it refuses a token, and wants one all the same.
func TestBasicAfterBearerIsIgnored(t *testing.T) {
	t.Parallel()
	g := newGateway(t, bearerOnly)
	var refused atomic.Bool
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/absent") && r.Header.Get("Authorization") != "" {
			refused.Store(true)
			answer(401, `{"errors":[{"code":"UNAUTHORIZED"}]}`, "Www-Authenticate", `Basic realm="harbor"`)(w, r)
			return
		}
		g.serve(w, r)
	})
	g.URL = s.URL
	c := connect(t, s.URL, "ann", "secret-pass")
	_, err := read(t, c, refOf(t, "absent/a"))
	if c.wantCode(t, err, oci.NameUnknown); !refused.Load() {
		t.Error("nothing was refused")
	}
	_, err = read(t, c, manifestRef(t, "v1"))
	check(t, err)
	for _, req := range c.sent.all() {
		if strings.HasPrefix(req.Header.Get("Authorization"), "Basic") && req.URL.Path != "/token" {
			t.Errorf("sent the login to %s", req.URL)
		}
	}
}

// Public ECR says 400, and no challenge, of a token that has expired.
func TestExpiredTokenIsABadRequest(t *testing.T) {
	t.Parallel()
	g := newGateway(t, bearerOnly)
	g.refuse = answer(400, `{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}`)
	c := connect(t, g.URL)
	old := authorization{header: "Bearer old", until: time.Now().Add(time.Hour)}
	c.tokens.cached.Add(pullFrom(repo), old)
	_, err := read(t, c, manifestRef(t, "v1"))
	check(t, err)
	if n := len(c.sent.all()); n != 4 { // refused, the ping, the token, the manifest
		t.Errorf("%d requests, want 4", n)
	}
}

// SIGHUP forgets the challenge and what was refused.
func TestReloadForgetsTokens(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	c := connect(t, h.URL(), "small", "right")
	remove := deny(h, 403, "DENIED")
	_, err := c.Resolve(t.Context(), refOf(t, "corp/a"))
	c.wantCode(t, err, oci.Denied)
	remove()
	fill(h, "corp/a", 2)
	c.tokens.forget()
	_, err = c.Resolve(t.Context(), refOf(t, "corp/a"))
	check(t, err)
	if n := h.Counters(); n.Pings != 2 || n.Tokens != 3 {
		t.Errorf("%d pings, %d tokens; want 2, 3", n.Pings, n.Tokens)
	}
}

// What carries the login follows no redirect of the token service to another
// domain.
func TestIdentityTokenIsNotRedirected(t *testing.T) {
	t.Parallel()
	thief := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked by %s", r.Method) })
	var s *httptest.Server
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, strings.Replace(thief.URL, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
			return
		}
		challenging(func() string { return s.URL + "/token" }, answer(200, ""))(w, r)
	})
	c := connect(t, s.URL)
	c.tokens.auth = authn.FromConfig(authn.AuthConfig{IdentityToken: "secret-identity"})
	_, err := read(t, c, manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
}

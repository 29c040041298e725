package upstream

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

func TestOneTokenForARepository(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	h.AddManifest("team/other", "v1", imageType, []byte("{}"))
	c := connect(t, h.URL())
	h.Inject(hubsim.Fault{Op: "token", Latency: 50 * time.Millisecond})
	var group errgroup.Group
	for range 30 {
		group.Go(func() error {
			_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
			return err
		})
	}
	check(t, group.Wait())
	if n := h.Counters(); n.Tokens != 1 || n.Pings != 1 || n.Challenges != 0 {
		t.Errorf("%d tokens, %d pings, %d challenges; want 1, 1, 0", n.Tokens, n.Pings, n.Challenges)
	}
	other, err := oci.ParseManifest(oci.DockerHub, "team/other", "v1")
	check(t, err)
	_, err = c.Resolve(t.Context(), other)
	check(t, err)
	if n := h.Counters(); n.Tokens != 2 || n.Pings != 1 {
		t.Errorf("%d tokens, %d pings for two repositories; want 2, 1", n.Tokens, n.Pings)
	}
}

// inProcess asks a hub, say, without a network, so that its tokens live by the
// clock of a synctest bubble.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	req = req.Clone(req.Context())
	req.RemoteAddr = "192.0.2.1:1"
	p.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	h := startHub(t, hubsim.Options{TokenTTL: 2 * time.Second})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	u, err := url.Parse(h.URL())
	check(t, err)
	synctest.Test(t, func(t *testing.T) {
		c := connectBy(t, u, inProcess{h})
		for range 20 {
			_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
			check(t, err)
			<-time.After(500 * time.Millisecond)
		}
	})
	// 10 s in steps of 0.5 s; each token serves until 1.5 s.
	if n := h.Counters(); n.Challenges != 0 || n.Tokens != 7 {
		t.Errorf("%d tokens, %d challenges; want 7, 0", n.Tokens, n.Challenges)
	}
}

// A token that is said to hold for longer than can be counted is used.
func TestTokenLifetimeIsCapped(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	h.Inject(hubsim.Fault{Op: "token", Token: map[string]any{"expires_in": 1 << 60}})
	c := connect(t, h.URL())
	for range 3 {
		_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
		check(t, err)
	}
	if n := h.Counters(); n.Tokens != 1 {
		t.Errorf("%d tokens for 3 requests, want 1", n.Tokens)
	}
}

// A registry that forgets its tokens early: each request refreshes once.
func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	c := connect(t, h.URL())
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	check(t, err)
	old, _ := c.tokens.cached.Peek(pullFrom(repo))
	old.header += "x"
	old.got = time.Time{}
	c.tokens.cached.Add(pullFrom(repo), old)
	_, err = c.Resolve(t.Context(), manifestRef(t, "v1"))
	check(t, err)
	if n := h.Counters(); n.Tokens != 2 || n.Challenges != 1 {
		t.Errorf("%d tokens, %d challenges; want 2, 1", n.Tokens, n.Challenges)
	}
}

func TestFreshTokenRefused(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	c := connect(t, h.URL())
	for i := 1; i <= 3; i++ {
		_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
		c.wantCode(t, err, oci.NameUnknown)
		if n := h.Counters(); n.Tokens != i || n.Challenges != i {
			t.Errorf("after %d requests: %d tokens, %d challenges", i, n.Tokens, n.Challenges)
		}
	}
	// The same through an old token: a refresh, and then it is over too.
	c.tokens.cached.Add(pullFrom(repo), authorization{header: "Bearer old", until: time.Now().Add(time.Hour)})
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.NameUnknown)
	if n := h.Counters(); n.Tokens != 4 || n.Challenges != 5 {
		t.Errorf("%d tokens, %d challenges; want 4, 5", n.Tokens, n.Challenges)
	}
	if _, cached := c.tokens.cached.Peek(pullFrom(repo)); cached {
		t.Error("a refused token is still cached")
	}
}

// An open registry whose content asks for a login, and does not say which, is
// asked once; its word counts, a bare 401 does not.
func TestOpenRegistryThatRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		handle http.HandlerFunc
		code   oci.Code
	}{
		{answer(401, `{"errors":[{"code":"UNAUTHORIZED"}]}`), oci.NameUnknown},
		{answer(401, ""), oci.Unavailable},
	} {
		c := connect(t, serve(t, openly(test.handle)).URL)
		_, err := read(t, c, manifestRef(t, "v1"))
		c.wantCode(t, err, test.code)
		if n := len(c.sent.all()); n != 2 {
			t.Errorf("%d requests, want the ping and 1", n)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: map[string]string{"ann": "right"}})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	c := connect(t, h.URL(), "ann", "hunter2-hunter2")
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "user name and password") {
		t.Errorf("error %v does not say what to check", err)
	}
}

func TestLoginGoesToTheTokenServiceOnly(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: map[string]string{"ann": "secret-pass"}})
	d := h.AddBlob(repo, []byte("content"))
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	h.SetPrivate(repo, "ann")
	c := connect(t, h.URL(), "ann", "secret-pass")
	wantBlob(t, c, d, 7)
	if _, err := c.Resolve(t.Context(), manifestRef(t, "v1")); err != nil {
		t.Fatal(err)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:secret-pass"))
	for _, req := range c.sent.all() {
		got := req.Header.Get("Authorization")
		if isToken := req.URL.Path == "/token"; isToken && got != basic || !isToken && strings.HasPrefix(got, "Basic") {
			t.Errorf("%s %s with Authorization %q", req.Method, req.URL, got)
		}
	}
	if n := h.Counters(); n.Tokens != 1 || n.CDNAuthorization != 0 {
		t.Errorf("%d tokens, %d with Authorization at the CDN; want 1, 0", n.Tokens, n.CDNAuthorization)
	}
	anonymous := connect(t, h.URL())
	_, err := anonymous.Resolve(t.Context(), manifestRef(t, "v1"))
	anonymous.wantCode(t, err, oci.NameUnknown)
}

func TestBasicRegistry(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "ann" || password != "secret-pass" {
			w.Header().Set("Www-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("content"))
	})
	wantBlob(t, connect(t, s.URL, "ann", "secret-pass"), oci.FromBytes([]byte("content")), 7)
	c := connect(t, s.URL, "ann", "wrong-pass")
	_, err := read(t, c, blobRef(t, oci.FromBytes(nil)))
	c.wantCode(t, err, oci.Unavailable)
	if !errors.Is(err, oci.ErrLogin) {
		t.Errorf("%v is no failed login", err)
	}
	anonymous := connect(t, s.URL)
	_, err = read(t, anonymous, blobRef(t, oci.FromBytes(nil)))
	anonymous.wantCode(t, err, oci.NameUnknown)
}

func TestTokenServiceFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		code   oci.Code
	}{
		"5xx":      {answer(500, "the token was SECRET-SECRET"), oci.Unavailable},
		"html":     {answer(200, "<html>SECRET-SECRET"), oci.Unavailable},
		"no token": {answer(200, `{"refresh_token":"SECRET-SECRET"}`), oci.Unavailable},
		"403":      {answer(403, "SECRET-SECRET"), oci.Unavailable},
		"429":      {answer(429, "slow down"), oci.TooManyRequests},
		"elsewhere": {answer(302, "", "Location", "ftp://elsewhere.example/?token=SECRET-SECRET"),
			oci.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *httptest.Server
			s = serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					test.handle(w, r)
					return
				}
				challenging(func() string { return s.URL + "/token" }, answer(500, ""))(w, r)
			})
			c := connect(t, s.URL)
			c.secrets = append(c.secrets, "SECRET-SECRET")
			_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
			c.wantCode(t, err, test.code)
		})
	}
}

func TestTokenWithoutExpiry(t *testing.T) {
	t.Parallel()
	var s *httptest.Server
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer(200, `{"access_token":"abc"}`)(w, r)
			return
		}
		challenging(func() string { return s.URL + "/token" }, answer(404, "", version...))(w, r)
	})
	c := connect(t, s.URL)
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.ManifestUnknown)
	a, _ := c.tokens.cached.Peek(pullFrom(repo))
	if left := time.Until(a.until); a.header != "Bearer abc" || left > defaultTTL || left < defaultTTL/2 {
		t.Errorf("%q for %v", a.header, left)
	}
}

func TestUnknownChallenge(t *testing.T) {
	t.Parallel()
	s := serve(t, answer(401, "", "Www-Authenticate", "Negotiate"))
	c := connect(t, s.URL)
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
}

// A token service that refuses who has no login once has refused no login.
func TestTokenRefusedWithoutLogin(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte(`{}`))
	h.Inject(hubsim.Fault{Op: "token", Status: http.StatusUnauthorized, Times: 1})
	c := connect(t, h.URL())
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	if c.wantCode(t, err, oci.Unavailable); errors.Is(err, oci.ErrLogin) {
		t.Errorf("taken for a failed login: %v", err)
	}
	_, err = c.Resolve(t.Context(), manifestRef(t, "v1"))
	check(t, err)
}

// What cost a pull and is of no use says so.
func TestUselessManifest(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	d := h.AddManifest(repo, "v1", imageType, []byte(`{"a":1}`))
	at := int64(2)
	for _, fault := range []hubsim.Fault{
		{Op: "manifest", FlipAt: &at},
		{Op: "manifest", Status: 200, Body: "<html>", ContentType: "text/html"},
		{Op: "manifest", Status: 200, Body: strings.Repeat("x", oci.MaxManifestSize+1), ContentType: imageType},
	} {
		remove := h.Inject(fault)
		c := connect(t, h.URL())
		_, err := read(t, c, manifestRef(t, d.String()))
		if c.wantCode(t, err, oci.Unavailable); !errors.Is(err, oci.ErrUnusable) {
			t.Errorf("%v is not ErrUnusable", err)
		}
		remove()
	}
}

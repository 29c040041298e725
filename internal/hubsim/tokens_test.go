package hubsim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPingNeedsToken(t *testing.T) {
	h := start(t, Options{})
	c := newClient(t, h)
	want := `Bearer realm="` + h.URL() + `/token",service="registry.docker.io"`
	c.do("GET", "/v2/").wantCode(t, 401, "UNAUTHORIZED").
		wantHeader(t, "Www-Authenticate", want).
		wantHeader(t, "Docker-Distribution-Api-Version", "registry/2.0")
	c.login("", "").do("GET", "/v2/").want(t, 200)

	open := start(t, Options{NoAuth: true})
	newClient(t, open).do("GET", "/v2/").want(t, 200)
}

func TestTokenGrantsOneScope(t *testing.T) {
	h := start(t, Options{})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	h.AddManifest("library/other", "latest", imageType, []byte(`{}`))
	c := newClient(t, h)
	scope := `Bearer realm="` + h.URL() + `/token",service="registry.docker.io",scope="repository:library/test:pull"`

	c.do("GET", "/v2/library/test/manifests/latest").wantCode(t, 401, "UNAUTHORIZED").
		wantHeader(t, "Www-Authenticate", scope)
	c.login("", "", pull(repo)).do("GET", "/v2/library/test/manifests/latest").want(t, 200)
	c.do("GET", "/v2/library/other/manifests/latest").want(t, 401)
	c.login("", "", pull(repo), pull("library/other")).do("GET", "/v2/library/other/manifests/latest").want(t, 200)
	c.token = "forged"
	c.do("GET", "/v2/library/test/manifests/latest").want(t, 401).
		wantHeader(t, "Www-Authenticate", scope+`,error="invalid_token"`)
}

func TestMissingAndPrivateLookAlike(t *testing.T) {
	h := start(t, Options{Users: map[string]string{"ann": "secret", "bob": "secret"}})
	h.AddManifest("ann/private", "latest", imageType, []byte(`{}`))
	h.SetPrivate("ann/private", "ann")
	for _, c := range []struct{ user, repo string }{{"", "ann/private"}, {"bob", "ann/private"}, {"ann", "library/nothing"}} {
		answer := newClient(t, h).login(c.user, "secret", pull(c.repo)).do("GET", "/v2/"+c.repo+"/manifests/latest")
		challenge := answer.want(t, 401).Header.Get("Www-Authenticate")
		if !strings.HasSuffix(challenge, `:pull",error="insufficient_scope"`) {
			t.Errorf("%v: challenge %q", c, challenge)
		}
	}
	newClient(t, h).login("ann", "secret", pull("ann/private")).do("GET", "/v2/ann/private/manifests/latest").want(t, 200)
}

func TestTokenServiceRefusesWrongPassword(t *testing.T) {
	h := start(t, Options{Users: map[string]string{"ann": "secret"}})
	c := newClient(t, h)
	for _, user := range []string{"ann", "nobody", ""} {
		c.do("GET", "/token", func(r *http.Request) { r.SetBasicAuth(user, "wrong") }).want(t, 401)
	}
	if n := h.Counters(); n.Tokens != 3 || n.TokenFailures != 3 {
		t.Errorf("counted %d tokens and %d failures, want 3 and 3", n.Tokens, n.TokenFailures)
	}
}

func TestTokenExpires(t *testing.T) {
	h := start(t, Options{TokenTTL: 90 * time.Second})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	synctest.Test(t, func(t *testing.T) {
		var granted tokenResponse
		answer := ask(h, "GET", "/token?scope="+pull(repo), "")
		if err := json.Unmarshal(answer.Body.Bytes(), &granted); err != nil {
			t.Fatal(err)
		}
		issued, err := time.Parse(time.RFC3339, granted.IssuedAt)
		if err != nil || !issued.Equal(time.Now()) || granted.ExpiresIn != 90 || granted.AccessToken != granted.Token {
			t.Errorf("token service:  %+v (%v)", granted, err)
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {90*time.Second - 1, 200}, {1, 401}} {
			<-time.After(step.wait)
			if got := ask(h, "HEAD", "/v2/"+repo+"/manifests/latest", granted.Token).Code; got != step.want {
				t.Errorf("after another %v: status %d, want %d", step.wait, got, step.want)
			}
		}
	})
}

// A token service may announce other lifetimes than its tokens have, or none.
func TestTokenFault(t *testing.T) {
	h := start(t, Options{})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	h.Inject(Fault{Op: "token", Token: map[string]any{"expires_in": nil, "issued_at": "2001-02-03T04:05:06Z"}})
	var reply map[string]string // a number would not fit
	if err := json.Unmarshal(ask(h, "GET", "/token?scope="+pull(repo), "").Body.Bytes(), &reply); err != nil {
		t.Fatal(err)
	}
	if reply["issued_at"] != "2001-02-03T04:05:06Z" || len(reply) != 3 {
		t.Errorf("token service:  %v", reply)
	}
	if got := ask(h, "HEAD", "/v2/"+repo+"/manifests/latest", reply["token"]).Code; got != 200 {
		t.Errorf("with that token: status %d", got)
	}
}

// A token service may deny only one scope.
func TestTokenFaultOfOneScope(t *testing.T) {
	h := start(t, Options{})
	h.Inject(Fault{Op: "token", Match: "repository:corp/", Status: 403})
	for query, want := range map[string]int{"?scope=" + pull("corp/a"): 403, "?scope=" + pull(repo): 200, "": 200} {
		if got := ask(h, "GET", "/token"+query, "").Code; got != want {
			t.Errorf("/token%s: status %d, want %d", query, got, want)
		}
	}
}

// ask calls the handler without a network, so that the clock can be fake.
func ask(h *Hub, method, path, token string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Authorization", "Bearer "+token)
	h.ServeHTTP(w, r)
	return w
}

package upstream

import (
	"errors"
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
	"golang.org/x/sync/errgroup"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// deny makes a token service refuse the repositories of corp/, as ghcr.io and
// GitLab do; code is of its JSON.
func deny(h *hubsim.Hub, status int, code string) (remove func()) {
	return h.Inject(hubsim.Fault{
		Op: "token", Match: "repository:corp/", Status: status, ContentType: "application/json",
		Body: fmt.Sprintf(`{"errors":[{"code":%q,"message":"no access"}]}`, code),
	})
}

func refOf(t *testing.T, repository string) oci.Ref {
	t.Helper()
	ref, err := oci.ParseManifest(oci.DockerHub, repository, "v1")
	check(t, err)
	return ref
}

// A login that is denied one repository stays usable for the others, and the
// denial is remembered for a while.
func TestTokenDeniedForOneRepository(t *testing.T) {
	for _, test := range []struct {
		status int
		word   string
		code   oci.Code
	}{{403, "DENIED", oci.Denied}, {401, "UNAUTHORIZED", oci.NameUnknown}} {
		h := startHub(t, hubsim.Options{Users: users})
		synctest.Test(t, func(t *testing.T) {
			digests := fill(h, repo, 2)
			p := pool(t, h, "small")
			remove := deny(h, test.status, test.word)
			for range 3 {
				for _, repository := range []string{"corp/a", "corp/b"} {
					_, err := p.Resolve(t.Context(), refOf(t, repository))
					if oci.CodeOf(err) != test.code || !strings.Contains(fmt.Sprint(err), "no access") {
						t.Errorf("%d: %v, want %s and why", test.status, err, test.code)
					}
				}
			}
			if n := h.Counters(); n.Tokens != 3 { // for each of them, and one that shows that the login is good
				t.Errorf("%d tokens were asked for, want 3", n.Tokens)
			}
			check(t, pull(t, p, repo, digests[0]))
			p.wantEvents(t)
			if !p.Usable()[0] {
				t.Error("the login is disabled")
			}
			remove()
			<-time.After(deniedTime)
			fill(h, "corp/a", 2)
			_, err := p.Resolve(t.Context(), refOf(t, "corp/a"))
			check(t, err)
		})
	}
}

// What one login is denied by the token service another may have.
func TestPoolRetriesDeniedWithOtherLogins(t *testing.T) {
	h := startHub(t, hubsim.Options{Users: users})
	digests := fill(h, "corp/a", 2)
	p := pool(t, h, "small", "large")
	h.Inject(hubsim.Fault{Op: "token", Match: "repository:corp/", Status: 403, Times: 1, Body: `{"errors":[{"code":"DENIED"}]}`})
	check(t, pull(t, p, "corp/a", digests[0]))
	p.wantEvents(t)
	if p.preferred.Len() != 1 {
		t.Error("who may pull is not remembered")
	}
}

// Harbor refuses an image that a policy forbids with 412, to GET and HEAD alike.
func TestForbiddenByPolicy(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	for _, op := range []string{"manifest", "manifest-head"} {
		h.Inject(hubsim.Fault{Op: op, Status: 412, Body: `{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"3 vulnerabilities"}]}`})
	}
	c := connect(t, h.URL())
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	if !errors.Is(err, oci.ErrNeedsGet) {
		t.Errorf("HEAD: %v, want that a GET tells more", err)
	}
	_, err = c.Open(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Denied)
	if err != nil && !strings.Contains(err.Error(), "3 vulnerabilities") {
		t.Errorf("the message of the policy is not in %q", err)
	}
}

// Without a login the token service's word is that there is no such repository.
func TestTokenDeniedWithoutLogin(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	deny(h, 401, "UNAUTHORIZED")
	c := connect(t, h.URL())
	for range 2 {
		_, err := c.Resolve(t.Context(), refOf(t, "corp/a"))
		if c.wantCode(t, err, oci.NameUnknown); errors.Is(err, oci.ErrLogin) {
			t.Errorf("taken for a failed login: %v", err)
		}
	}
	if n := h.Counters(); n.Tokens != 1 {
		t.Errorf("%d tokens were asked for, want 1", n.Tokens)
	}
}

// A login that cannot be told from a good one is not blamed, and nothing is said
// to be denied.
func TestUnavailableTokenServiceBlamesNoLogin(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	h.Inject(hubsim.Fault{Op: "token", Status: 403, Times: 1, Body: `{"errors":[{"code":"DENIED"}]}`})
	h.Inject(hubsim.Fault{Op: "token", Status: 500, Times: 1})
	c := connect(t, h.URL(), "small", "right")
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	if c.wantCode(t, err, oci.Unavailable); errors.Is(err, oci.ErrLogin) {
		t.Errorf("taken for a failed login: %v", err)
	}
}

// A page in the place of the token service says nothing of the login.
func TestFilterBeforeTheTokenService(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	h.Inject(hubsim.Fault{Op: "token", Status: 403, ContentType: "text/html", Body: "<h1>Blocked"})
	c := connect(t, h.URL(), "small", "right")
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	if c.wantCode(t, err, oci.Unavailable); errors.Is(err, oci.ErrLogin) {
		t.Errorf("taken for a failed login: %v", err)
	}
}

// However many ask at once, a wrong login is sent twice: once for a repository
// and once for none. GitLab locks out who does so 30 times.
func TestWrongLoginIsSentTwice(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	c := connect(t, h.URL(), "small", "wrong-wrong")
	var group errgroup.Group
	for i := range 50 {
		group.Go(func() error {
			_, err := c.Resolve(t.Context(), refOf(t, fmt.Sprint("corp/r", i)))
			if c.wantCode(t, err, oci.Unavailable); !errors.Is(err, oci.ErrLogin) {
				return fmt.Errorf("%v is no failed login", err)
			}
			return nil
		})
	}
	check(t, group.Wait())
	if n := h.Counters(); n.TokenFailures != 2 {
		t.Errorf("a wrong login was sent %d times, want 2", n.TokenFailures)
	}
}

// basicRegistry wants the login of ann; it refuses what is of corp/ to her with
// status.
func basicRegistry(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "secret-pass" {
			// As nginx does.
			answer(401, "<html>401 Authorization Required", "Www-Authenticate", `basic realm=zot`, "Content-Type", "text/html")(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v2/corp/") {
			answer(status, `{"code":"UNAUTHORIZED","message":"not yours"}`, "Www-Authenticate", `basic realm=zot`)(w, r)
			return
		}
		answer(200, "{}", "Content-Type", imageType)(w, r)
	}
}

// A registry that takes the login itself may refuse a repository too.
func TestBasicDeniedForOneRepository(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]oci.Code{401: oci.NameUnknown, 403: oci.Denied} {
		c := connect(t, serve(t, basicRegistry(status)).URL, "ann", "secret-pass")
		for range 2 {
			_, err := read(t, c, refOf(t, "corp/a"))
			c.wantCode(t, err, code)
			_, err = read(t, c, manifestRef(t, "v1"))
			check(t, err)
		}
	}
}

// Where /v2/ is open to all, what was served shows that the login is good; a
// login that was never let in is blamed.
func TestBasicBehindAnOpenRoot(t *testing.T) {
	t.Parallel()
	registry := basicRegistry(401)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			registry(w, r)
		}
	})
	c := connect(t, s.URL, "ann", "secret-pass")
	_, err := read(t, c, manifestRef(t, "v1"))
	check(t, err)
	_, err = read(t, c, refOf(t, "corp/a"))
	c.wantCode(t, err, oci.NameUnknown)
	c = connect(t, s.URL, "ann", "wrong-wrong")
	_, err = read(t, c, manifestRef(t, "v1"))
	if c.wantCode(t, err, oci.Unavailable); !errors.Is(err, oci.ErrLogin) {
		t.Errorf("%v is no failed login", err)
	}
}

// Amazon's registries say 403, and no challenge, of a login that has expired.
func TestExpiredBasic(t *testing.T) {
	t.Parallel()
	expired := answer(403, `{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}`)
	c := connect(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			expired(w, r)
			return
		}
		answer(401, "", "Www-Authenticate", `Basic realm="ecr"`)(w, r)
	}).URL, "AWS", "secret-pass")
	_, err := read(t, c, manifestRef(t, "v1"))
	if c.wantCode(t, err, oci.Unavailable); !errors.Is(err, oci.ErrLogin) {
		t.Errorf("%v is no failed login", err)
	}
}

// rotating is a login whose password changes, as that of Amazon's helper does.
type rotating struct{ password atomic.Value }

func (r *rotating) Authorization() (*authn.AuthConfig, error) {
	return &authn.AuthConfig{Username: "AWS", Password: r.password.Load().(string)}, nil
}

// A login that has expired is read again, and not blamed.
func TestRotatedBasic(t *testing.T) {
	login, valid := new(rotating), "first"
	login.password.Store(valid)
	synctest.Test(t, func(t *testing.T) {
		u, err := url.Parse("http://ecr.example")
		check(t, err)
		c := connectBy(t, u, inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch _, password, given := r.BasicAuth(); {
			case !given:
				answer(401, "", "Www-Authenticate", `Basic realm="ecr"`)(w, r)
			case password != valid:
				answer(403, `{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}`)(w, r)
			default:
				answer(200, "{}", "Content-Type", imageType)(w, r)
			}
		})})
		c.tokens.auth = login
		for _, password := range []string{"first", "second"} {
			valid = password
			login.password.Store(password)
			_, err := read(t, c, manifestRef(t, "v1"))
			check(t, err)
			<-time.After(freshTime)
		}
	})
}

// A registry that refuses the HEAD of blobs is asked by GET, at once.
func TestHeadOfBlobsIsRefused(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", `,error="insufficient_scope"`, `,error="invalid_token"`} {
		var s *httptest.Server
		s = serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				answer(200, `{"token":"abc"}`)(w, r)
			case r.Method == http.MethodHead || r.Header.Get("Authorization") == "":
				answer(401, "", "Www-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"%s`, s.URL, reason))(w, r)
			default:
				answer(200, "content")(w, r)
			}
		})
		c := connect(t, s.URL)
		d, err := c.Resolve(t.Context(), blobRef(t, oci.FromBytes([]byte("content"))))
		if err != nil || d.Size != 7 {
			t.Errorf("%q: %+v, %v", reason, d, err)
		}
		if n := len(c.sent.all()); n != 4 {
			t.Errorf("%q: %d requests, want the ping, the token, HEAD and GET", reason, n)
		}
	}
}

// No login is sent as an empty one.
func TestNoEmptyBasic(t *testing.T) {
	t.Parallel()
	c := connect(t, serve(t, basicRegistry(403)).URL)
	_, err := read(t, c, manifestRef(t, "v1"))
	c.wantCode(t, err, oci.NameUnknown)
	for _, req := range c.sent.all() {
		if header := req.Header.Get("Authorization"); header != "" {
			t.Errorf("sent %q to %s", header, req.URL)
		}
	}
}

package access

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mirrord/internal/oci"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a gate whose reports are noted.
type world struct {
	*Gate
	dir string

	mu       sync.Mutex // guards all below
	failures []LoginFailure
	broken   []error
	compared int // passwords
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.Gate = NewGate(GateOptions{
		LoginFailed:  func(f LoginFailure) { w.note(func() { w.failures = append(w.failures, f) }) },
		FileFailed:   func(err error) { w.note(func() { w.broken = append(w.broken, err) }) },
		IssuerFailed: func(_ string, err error) { w.note(func() { w.broken = append(w.broken, err) }) },
	})
	return w
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// write writes a file and returns its path.
func (w *world) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// user returns a line of htpasswd.
func user(t *testing.T, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	check(t, err)
	return name + ":" + strings.Replace(string(hash), "$2a$", "$2y$", 1) + "\n"
}

// auth returns an Auth whose comparisons of passwords are counted.
func (w *world) auth(t *testing.T, o AuthOptions) *Auth {
	t.Helper()
	a, err := w.NewAuth(o)
	check(t, err)
	for _, v := range a.verifiers {
		if p, ok := v.(*passwords); ok {
			p.compare = func(hash, password []byte) error {
				w.note(func() { w.compared++ })
				return bcrypt.CompareHashAndPassword(hash, password)
			}
		}
	}
	return a
}

func basic(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// login sends a request with a credential from an address.
func (w *world) login(a *Auth, address string, set func(*http.Request)) ([]string, error) {
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	r.RemoteAddr = address + ":1"
	set(r)
	client, err := ask(w.Gate, a, r)
	return client.Names, err
}

const home = "192.0.2.1"

func TestLogin(t *testing.T) {
	w := newWorld(t)
	secret := strings.Repeat("s", minToken)
	a := w.auth(t, AuthOptions{
		Htpasswd: w.write(t, "htpasswd", "# people\n\n"+user(t, "alice", "wonder")+user(t, "bob", "")),
		Tokens:   w.write(t, "tokens", "# machines\nci:"+secret+"\r\n  old:sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n"),
	})
	for name, test := range map[string]struct {
		set  func(*http.Request)
		want string // empty: 401
	}{
		"nothing":              {func(*http.Request) {}, ""},
		"password":             {basic("alice", "wonder"), "user:alice"},
		"wrong password":       {basic("alice", "Wonder"), ""},
		"user in other case":   {basic("Alice", "wonder"), ""},
		"no such user":         {basic("carol", "wonder"), ""},
		"no user":              {basic("", "wonder"), ""},
		"empty password":       {basic("bob", ""), "user:bob"},
		"token":                {bearer(secret), "token:ci"},
		"token as a password":  {basic("whoever", secret), "token:ci"},
		"hashed token":         {bearer("foo"), "token:old"},
		"hash itself":          {bearer("sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"), ""},
		"name of a token":      {basic("ci", "ci"), ""},
		"password as a token":  {bearer("wonder"), ""},
		"another scheme":       {func(r *http.Request) { r.Header.Set("Authorization", "Negotiate abc") }, ""},
		"a malformed password": {func(r *http.Request) { r.Header.Set("Authorization", "Basic %%%") }, ""},
	} {
		names, err := w.login(a, home, test.set)
		if test.want == "" && oci.CodeOf(err) != oci.Unauthorized || test.want != "" && (err != nil || !slices.Equal(names, []string{test.want})) {
			t.Errorf("%s: %v, %v; want %q", name, names, err, test.want)
		}
	}
	if !slices.ContainsFunc(w.failures, func(f LoginFailure) bool { return f.User == "alice" }) {
		t.Error("no failure names the user that exists")
	}
	for _, f := range w.failures {
		if (f.Method != Htpasswd && f.Method != Tokens) || f.User != "" && f.User != "alice" || f.Client.Address.String() != home {
			t.Errorf("reported: %+v", f)
		}
		for _, password := range []string{"wonder", "Wonder", "foo", "carol"} {
			if strings.Contains(f.Err.Error(), password) {
				t.Errorf("%q is told in %v", password, f.Err)
			}
		}
	}
}

// podman, skopeo and CRI-O without a login answer the challenge with an empty user and
// password: they are told to log in, and that is not a guess.
func TestEmptyLoginIsNone(t *testing.T) {
	w := newWorld(t)
	a := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
	for range 2 * maxFailures {
		if _, err := w.login(a, home, basic("", "")); oci.CodeOf(err) != oci.Unauthorized || !strings.Contains(err.Error(), "requires a login") {
			t.Fatalf("empty login: %v", err)
		}
	}
	if len(w.failures) > 0 {
		t.Errorf("reported: %+v", w.failures)
	}
}

// A refused login asks for Basic, whichever path it is for; what comes after the gate
// sees no credential, and an open listener sees none either and asks for nothing.
func TestChallenge(t *testing.T) {
	w := newWorld(t)
	closed := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
	for name, test := range map[string]struct {
		auth   *Auth
		set    func(*http.Request)
		status int
	}{
		"closed":            {closed, func(*http.Request) {}, http.StatusUnauthorized},
		"closed, wrong":     {closed, basic("alice", "x"), http.StatusUnauthorized},
		"closed, right":     {closed, basic("alice", "wonder"), http.StatusOK},
		"open":              {nil, func(*http.Request) {}, http.StatusOK},
		"open, a password":  {nil, basic("hub", "secret"), http.StatusOK},
		"open, a token":     {nil, bearer("x"), http.StatusOK},
		"open, many things": {nil, func(r *http.Request) { r.Header.Set("Proxy-Authorization", "Basic x") }, http.StatusOK},
	} {
		for _, path := range []string{"/v2/", "/v2", "/v2/library/a/manifests/latest", "/docker.io/v2/", "/"} {
			handler := w.Handler(test.auth, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				for _, header := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
					if r.Header.Get(header) != "" {
						t.Errorf("%s: %s got through", name, header)
					}
				}
			}), func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(http.StatusUnauthorized) })
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Cookie", "a=b")
			test.set(r)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			challenge := answer.Header().Get("WWW-Authenticate")
			if answer.Code != test.status || (challenge == `Basic realm="mirrord"`) != (test.status == http.StatusUnauthorized) {
				t.Errorf("%s: %s: status %d, challenge %q", name, path, answer.Code, challenge)
			}
		}
	}
}

// Who is refused for another reason is not asked for a login.
func TestNoChallenge(t *testing.T) {
	w := newWorld(t)
	w.Gate.options.Deny = networks("192.0.2.0/24")
	a := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	r.RemoteAddr = home + ":1"
	answer := httptest.NewRecorder()
	w.Handler(a, http.NotFoundHandler(), func(http.ResponseWriter, *http.Request, error) {}).ServeHTTP(answer, r)
	if challenge, ok := answer.Header()["Www-Authenticate"]; ok {
		t.Errorf("challenge %q", challenge)
	}
}

// A user that does not exist costs the same comparison as one that does.
func TestUserNamesCannotBeFound(t *testing.T) {
	w := newWorld(t)
	a := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
	for i, name := range []string{"alice", "nobody", "", "root"} {
		_, err := w.login(a, home, basic(name, "wrong"))
		if w.compared != i+1 || !strings.Contains(err.Error(), "the user or the password is wrong") {
			t.Errorf("%q: %d comparisons, %v", name, w.compared, err)
		}
	}
	// With hashes of several costs it is always the same one, as for a user that exists.
	several, err := parseUsers([]byte(user(t, "a", "1") + user(t, "b", "2") + user(t, "c", "3")))
	check(t, err)
	first, again, other := string(several.decoy(4)), string(several.decoy(4)), string(several.decoy(5))
	if first != again || first == other {
		t.Error("decoys depend on more than the user, or do not depend on it")
	}
	// That of an empty file is right for nothing.
	empty := w.auth(t, AuthOptions{Htpasswd: w.write(t, "empty", "")})
	if _, err := w.login(empty, home, basic("alice", "")); oci.CodeOf(err) != oci.Unauthorized {
		t.Errorf("an empty file: %v", err)
	}
}

// A password is hashed once a minute, and once for all who send it at the same time.
func TestPasswordIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := w.write(t, "htpasswd", user(t, "alice", "wonder"))
		a := w.auth(t, AuthOptions{Htpasswd: path})
		want := func(compared int) {
			t.Helper()
			if names, err := w.login(a, home, basic("alice", "wonder")); err != nil || w.compared != compared {
				t.Errorf("%v, %v after %d comparisons, want %d", names, err, w.compared, compared)
			}
		}
		for range 3 {
			want(1)
		}
		time.Sleep(rememberFor - time.Second)
		want(1)
		time.Sleep(time.Second)
		want(2)
		if _, err := w.login(a, home, basic("alice", "wrong")); err == nil || w.compared != 3 {
			t.Errorf("%v after %d comparisons", err, w.compared)
		}

		// One that was changed is not remembered.
		w.write(t, "htpasswd", user(t, "alice", "new"))
		a.Reload()
		if _, err := w.login(a, home, basic("alice", "wonder")); oci.CodeOf(err) != oci.Unauthorized {
			t.Errorf("the old password: %v", err)
		}
		if _, err := w.login(a, home, basic("alice", "new")); err != nil {
			t.Errorf("the new password: %v", err)
		}
	})
}

func TestPasswordIsHashedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
		p := a.verifiers[0].(*passwords)
		p.compare = func(hash, password []byte) error {
			w.note(func() { w.compared++ })
			time.Sleep(time.Second) // until all have come
			return bcrypt.CompareHashAndPassword(hash, password)
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := w.login(a, home, basic("alice", "wonder")); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if _, err := w.login(a, home, basic("alice", "wrong")); err == nil {
					t.Error("a wrong password got in with the right one")
				}
			})
		}
		all.Wait()
		if w.compared != 2 {
			t.Errorf("%d comparisons", w.compared)
		}
	})
}

package access

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Changed files are read again; broken ones are reported once, and the last good ones
// stay.
func TestFilesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := strings.Repeat("1", minToken), strings.Repeat("22", minToken)
		path := w.write(t, "tokens", "ci:"+first)
		a := w.auth(t, AuthOptions{Tokens: path})
		want := func(token string, right bool) {
			t.Helper()
			if _, err := w.login(a, home, bearer(token)); (err == nil) != right {
				t.Errorf("%s: %v", token, err)
			}
		}
		want(first, true)
		w.write(t, "tokens", "ci:"+second)
		want(first, true)
		time.Sleep(recheckEvery)
		want(first, false)
		want(second, true)
		w.write(t, "tokens", "broken")
		for range 3 {
			time.Sleep(recheckEvery)
			want(second, true)
		}
		check(t, os.Remove(path))
		for range 3 {
			time.Sleep(recheckEvery)
			want(second, true)
		}
		if len(w.broken) != 2 || !strings.Contains(w.broken[0].Error(), "line 1 is not NAME:TOKEN") || !errors.Is(w.broken[1], os.ErrNotExist) {
			t.Errorf("reported: %v", w.broken)
		}
		w.write(t, "tokens", "ci:"+first)
		a.Reload()
		want(first, true)
	})
}

// Files that are not what they should be are refused, with the line and what to do, and
// without a secret.
func TestBadFiles(t *testing.T) {
	w := newWorld(t)
	secret := strings.Repeat("s", minToken)
	for text, want := range map[string]string{
		"alice": "line 1 is not USER:HASH; add users with: htpasswd -B FILE USER",
		"\nalice:$apr1$9Hvl7Bfq$uMYT4jXmmAuZjqpjCNAEt.": "line 2: the password of alice is not hashed with bcrypt, the only hash that is accepted; set it again with: htpasswd -B FILE alice",
		"alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=":       "line 1: the password of alice",
		"alice:$2x$05$" + strings.Repeat("a", 53):       "line 1: the password of alice",
		"alice:wonder": "line 1: the password of alice",
		"alice:$2y$99$" + strings.Repeat("a", 53): "line 1: the password of alice",
		":$2y$05$" + strings.Repeat("a", 53):      "line 1 is not USER:HASH",
		user(t, "a", "1") + user(t, "a", "2"):     "line 2: a is also on line 1; remove one",
	} {
		_, err := w.NewAuth(AuthOptions{Htpasswd: w.write(t, "htpasswd", text)})
		wantRefused(t, text, err, want, "wonder", "apr1")
	}
	for text, want := range map[string]string{
		secret:                          "line 1 is not NAME:TOKEN",
		"a b:" + secret:                 "line 1 is not NAME:TOKEN",
		"ci:short":                      "line 1: the token of ci has less than 16 characters",
		"ci:" + secret + " " + secret:   "line 1: the token of ci has less than 16 characters, or spaces",
		"ci:sha256:abc":                 "line 1: the token of ci is not sha256: and 64 hexadecimal digits",
		"a:" + secret + "\nb:" + secret: "line 2: the token of b is also on line 1",
	} {
		_, err := w.NewAuth(AuthOptions{Tokens: w.write(t, "tokens", text)})
		wantRefused(t, text, err, want, secret, "short")
	}
	if _, err := w.NewAuth(AuthOptions{Htpasswd: filepath.Join(w.dir, "absent")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func wantRefused(t *testing.T, text string, err error, want string, secrets ...string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: %v, want %q", text, err, want)
		return
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v tells a secret", text, err)
		}
	}
}

package access

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// Someone who guesses gets 429 after ten failures, and costs no more comparisons; those
// at the same address who have been let in before are not affected, nor are others.
func TestGuessesAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		secret := strings.Repeat("s", minToken)
		a := w.auth(t, AuthOptions{
			Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder")+user(t, "bob", "builder")),
			Tokens:   w.write(t, "tokens", "ci:"+secret),
		})
		_, err := w.login(a, home, basic("alice", "wonder"))
		check(t, err)
		for i := range maxFailures {
			if _, err := w.login(a, home, basic("bob", strings.Repeat("x", i))); oci.CodeOf(err) != oci.Unauthorized {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		compared := w.compared
		for name, set := range map[string]func(*http.Request){"wrong": basic("bob", "y"), "right": basic("bob", "builder"), "token": bearer(secret)} {
			_, err := w.login(a, home, set)
			var limit *oci.LimitError
			if !errors.As(err, &limit) || limit.Kind != oci.LimitLogins || time.Until(limit.RetryAt) <= 0 || time.Until(limit.RetryAt) > failureWindow/maxFailures {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.login(a, home, basic("alice", "wonder")); err != nil || w.compared != compared {
			t.Errorf("remembered: %v, %d comparisons", err, w.compared-compared)
		}
		if _, err := w.login(a, "192.0.2.2", basic("bob", "builder")); err != nil {
			t.Errorf("another address: %v", err)
		}
		if _, err := w.login(a, home, func(*http.Request) {}); oci.CodeOf(err) != oci.Unauthorized {
			t.Errorf("without a credential: %v", err)
		}
		if len(w.failures) != maxFailures {
			t.Errorf("%d failures reported", len(w.failures))
		}

		// A credential that was right once is verified again while others guess.
		time.Sleep(2 * rememberFor)
		for range maxFailures {
			_, _ = w.login(a, home, basic("bob", "y"))
		}
		if _, err := w.login(a, home, basic("alice", "wonder")); err != nil {
			t.Errorf("remembered for long: %v", err)
		}
		time.Sleep(failureWindow / maxFailures)
		if _, err := w.login(a, home, basic("bob", "z")); oci.CodeOf(err) != oci.Unauthorized {
			t.Errorf("a guess later: %v", err)
		}
	})
}

// A changed file does not lock those out who have been let in before while somebody at
// their address guesses, unless their credential is not right any more.
func TestChangedFilesLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		secret := strings.Repeat("s", minToken)
		alice, bob := user(t, "alice", "wonder"), user(t, "bob", "builder")
		a := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", alice+bob), Tokens: w.write(t, "tokens", "ci:"+secret)})
		for _, set := range []func(*http.Request){basic("alice", "wonder"), basic("bob", "builder"), bearer(secret)} {
			_, err := w.login(a, home, set)
			check(t, err)
		}
		for i := range maxFailures {
			_, _ = w.login(a, home, basic("carol", strings.Repeat("x", i)))
		}
		w.write(t, "htpasswd", alice+user(t, "bob", "other")+user(t, "carol", "new"))
		w.write(t, "tokens", "ci:"+secret+"\nnew:"+secret+"2")
		a.Reload()
		for name, set := range map[string]func(*http.Request){"password": basic("alice", "wonder"), "token": bearer(secret)} {
			if _, err := w.login(a, home, set); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.login(a, home, basic("bob", "builder")); oci.CodeOf(err) != oci.Unauthorized {
			t.Errorf("an old password: %v", err)
		}
		for _, password := range []string{"builder", "other"} {
			if _, err := w.login(a, home, basic("bob", password)); oci.CodeOf(err) != oci.TooManyRequests {
				t.Errorf("once more: %v", err)
			}
		}
	})
}

// Guesses that come at once are not compared without bound.
func TestGuessesAtOnceAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
		p := a.verifiers[0].(*passwords)
		running, most := 0, 0
		p.compare = func(_, _ []byte) error {
			w.note(func() { w.compared++; running++; most = max(most, running) })
			time.Sleep(verifyTime / 1000)
			w.note(func() { running-- })
			return errors.New("no")
		}
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() { _, _ = w.login(a, home, basic("alice", strings.Repeat("x", i))) })
		}
		all.Wait()
		if w.compared > 3*maxFailures || most > 16 {
			t.Errorf("%d comparisons, %d at once", w.compared, most)
		}
	})
}

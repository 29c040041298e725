package upstream

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// A login that fails is disabled, reported once, and enabled again as soon as its
// file is correct.
func TestPoolDisablesAFailedLogin(t *testing.T) {
	h := startHub(t, hubsim.Options{Users: users})
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, h, "small", "large")
		p.password(t, "small", "wrong")
		digests := fill(h, repo, 20)
		for _, d := range digests[:5] {
			check(t, pull(t, p, repo, d))
		}
		if n := h.Counters().TokenFailures; n != 2 { // for the repository, and for none
			t.Errorf("%d logins were tried, want 2", n)
		}
		p.wantEvents(t, "aside small")
		if u := p.Usable(); u[0] || !u[1] {
			t.Errorf("usable: %v", u)
		}
		<-time.After(6 * time.Minute)
		check(t, pull(t, p, repo, digests[5]))
		p.wantEvents(t, "aside small") // it is tried again, and still wrong
		p.password(t, "small", "right now")
		h.SetUsers(map[string]string{"small": "right now", "large": "right"})
		check(t, pull(t, p, repo, digests[6]))
		p.wantEvents(t, "back small")
		if got, want := p.spent(), "small 1 large 6 "; got != want {
			t.Errorf("spent %q, want %q", got, want)
		}
	})
}

// With no login that works the error says so at once, and is not asked for in
// vain; Reload tries again.
func TestPoolWithoutALogin(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: map[string]string{"small": "other"}})
	p := pool(t, h, "small")
	d := fill(h, repo, 1)[0]
	for range 3 {
		if err := pull(t, p, repo, d); err == nil || oci.CodeOf(err) != oci.Unavailable {
			t.Errorf("%v, want the failed login", err)
		}
	}
	if n := h.Counters().TokenFailures; n != 2 { // for the repository, and for none
		t.Errorf("%d logins were tried, want 2", n)
	}
	h.SetUsers(users)
	p.Reload()
	check(t, pull(t, p, repo, d))
	p.wantEvents(t, "aside small")
	h.SetUsers(map[string]string{"small": "changed"})
	check(t, pull(t, p, repo, d)) // by the token of before
	p.Reload()
	if err := pull(t, p, repo, d); err == nil || oci.CodeOf(err) != oci.Unavailable {
		t.Errorf("%v, want the token forgotten and the login refused", err)
	}
}

// A password file that is gone is a failed login too.
func TestPoolWithAMissingFile(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	p := pool(t, h, "small", "large")
	check(t, os.Remove(filepath.Join(p.dir, "small")))
	check(t, pull(t, p, repo, fill(h, repo, 1)[0]))
	p.wantEvents(t, "aside small")
}

package registries

import (
	"maps"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcomes are what a client sees, by case.
type outcomes map[string]string

// row is a profile and the outcomes that differ from the usual ones.
type row struct {
	profile    string
	login      bool     // nothing is public: the mirror has a login in all cases
	tokenHosts []string // where its token service is, if not in its domain
	repo       string   // that clients name; empty: team/app
	stored     string   // its real name; empty: the same
	want       outcomes
}

// try is a case; each begins with an empty cache.
type try struct {
	do       func(*mirror) string // returns the outcome
	usual    string               // the outcome at a registry that behaves like Docker Hub
	password string               // of the mirror's login; empty: as in the row
	wrong    int                  // how often it may be refused
}

// TestProfiles tests all cases with every profile.
func TestProfiles(t *testing.T) {
	image := newImage(t)
	for _, r := range rows {
		t.Run(r.profile, func(t *testing.T) {
			t.Parallel()
			want := make(outcomes)
			for name, c := range tries {
				want[name] = c.usual
			}
			maps.Copy(want, r.want)
			for name, c := range tries {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { c.run(t, r, image, want[name]) })
				})
			}
		})
	}
}

// run checks the outcome, and what holds in all cases: no login or token is sent where
// it does not belong, and none is sent again and again when it is refused.
func (c try) run(t *testing.T, r row, image *image, want string) {
	if c.password == "" && r.login {
		c.password = password
	}
	m := newMirror(t, r, image, c.password)
	if got := c.do(m); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	n := m.hub.Counters()
	if n.CDNAuthorization > 0 || n.OtherAuthorization > 0 || n.TokenFailures > c.wrong {
		t.Errorf("credentials: %d to the CDN, %d to another host, %d refused", n.CDNAuthorization, n.OtherAuthorization, n.TokenFailures)
	}
}

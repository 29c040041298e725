package hubsim

import (
	"crypto/rand"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"
)

// grant is what the holder of a token is and may do.
type grant struct {
	user    string // empty: anonymous
	repos   map[string]bool
	expires time.Time
}

// tokens remembers the tokens that are out; to clients they are opaque.
type tokens struct {
	ttl time.Duration

	mu    sync.Mutex // guards all below
	out   map[string]grant
	users map[string]string // by account: the password
}

func newTokens(ttl time.Duration, users map[string]string) *tokens {
	return &tokens{ttl: ttl, out: map[string]grant{}, users: users}
}

// SetUsers replaces the accounts of the token service and their passwords.
// Tokens that are out stay.
func (h *Hub) SetUsers(users map[string]string) {
	h.tokens.mu.Lock()
	defer h.tokens.mu.Unlock()
	h.tokens.users = maps.Clone(users)
}

func (t *tokens) knows(user, password string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	want, known := t.users[user]
	return known && want == password
}

func (t *tokens) issue(user string, repos map[string]bool, now time.Time) string {
	token := rand.Text() + rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out[token] = grant{user: user, repos: repos, expires: now.Add(t.ttl)}
	return token
}

// redeem forgets a token that has expired.
func (t *tokens) redeem(token string, now time.Time) (grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.out[token]
	if ok && !now.Before(g.expires) {
		delete(t.out, token)
		return grant{}, false
	}
	return g, ok
}

// serveToken grants of the scopes asked for what the client may have; that
// this is less than asked, or nothing, is no error.
func (h *Hub) serveToken(a *answer, r *http.Request) {
	if r.Method != http.MethodGet {
		a.fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.", nil)
		return
	}
	user, password, basic := r.BasicAuth()
	if basic && !h.tokens.knows(user, password) {
		h.tally.add(func(c *Counters) { c.TokenFailures++ })
		a.json(http.StatusUnauthorized, map[string]string{"details": "incorrect username or password"})
		return
	}
	now := time.Now()
	token := h.tokens.issue(user, h.granted(user, r.URL.Query()["scope"]), now)
	said := map[string]any{
		"token":        token,
		"access_token": token,
		"expires_in":   int(math.Ceil(h.opts.TokenTTL.Seconds())),
		"issued_at":    now.UTC().Format(time.RFC3339),
	}
	maps.Copy(said, a.fault.Token)
	maps.DeleteFunc(said, func(_ string, value any) bool { return value == nil })
	a.json(http.StatusOK, said)
}

// granted picks the repositories that user may pull from out of scopes such
// as "repository:library/busybox:pull".
func (h *Hub) granted(user string, scopes []string) map[string]bool {
	repos := map[string]bool{}
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 || parts[0] != "repository" {
			continue
		}
		_, allowed := h.store.exists(parts[1], user)
		for action := range strings.SplitSeq(parts[2], ",") {
			if action == "pull" && allowed {
				repos[parts[1]] = true
			}
		}
	}
	return repos
}

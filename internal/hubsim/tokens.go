package hubsim

import (
	"crypto/rand"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// grant is the user and the access of a token.
type grant struct {
	user    string // empty: anonymous
	repos   map[string]bool
	all     bool // all repositories that the user may pull, and missing ones
	expires time.Time
}

// tokens stores the issued tokens, which are opaque to clients.
type tokens struct {
	ttl time.Duration

	mu     sync.Mutex // guards the fields below
	issued map[string]grant
	users  map[string]string // by account: the password
}

func newTokens(ttl time.Duration, users map[string]string) *tokens {
	return &tokens{ttl: ttl, issued: map[string]grant{}, users: users}
}

// SetUsers replaces the accounts of the token service and their passwords. Tokens that
// were issued before stay valid.
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

// issue returns a new token for g.
func (t *tokens) issue(g grant, now time.Time) string {
	token := rand.Text() + rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	g.expires = now.Add(t.ttl)
	t.issued[token] = g
	return token
}

// redeem returns the grant of a token, and removes a token that has expired.
func (t *tokens) redeem(token string, now time.Time) (grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.issued[token]
	if ok && !now.Before(g.expires) {
		delete(t.issued, token)
		return grant{}, false
	}
	return g, ok
}

// serveToken issues a token for those of the requested scopes that the client may
// have. Unless the profile denies it, it is not an error when these are fewer, or none.
func (h *Hub) serveToken(a *response, r *http.Request) {
	if r.Method != http.MethodGet {
		a.fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.", nil)
		return
	}
	service, query := h.opts.Profile.Tokens, r.URL.Query()
	user, password, basic := r.BasicAuth()
	repos := h.granted(user, query["scope"])
	switch {
	case basic && !h.tokens.knows(user, password):
		h.tally.add(func(c *Counters) { c.TokenFailures++ })
		h.reply(a, r, service.BadLogin.or(Reply{Status: http.StatusUnauthorized, Body: `{"details":"incorrect username or password"}`}))
	case service.Service != "" && query.Get("service") != service.Service, service.OneScope && len(query["scope"]) > 1:
		a.fail(http.StatusBadRequest, "UNSUPPORTED", "unknown service or too many scopes", nil)
	case service.Denied.Status != 0 && query.Has("scope") && len(repos) == 0:
		h.reply(a, r, service.Denied)
	default:
		h.sendToken(a, h.tokens.issue(grant{user: user, repos: repos, all: service.AnyRepo}, time.Now()))
	}
}

func (h *Hub) sendToken(a *response, token string) {
	reply := map[string]any{
		"token":        token,
		"access_token": token,
		"expires_in":   int(math.Ceil(h.opts.TokenTTL.Seconds())),
		"issued_at":    time.Now().UTC().Format(time.RFC3339),
	}
	fields := h.opts.Profile.Tokens.Fields
	maps.DeleteFunc(reply, func(name string, _ any) bool { return fields != nil && !slices.Contains(fields, name) })
	maps.Copy(reply, a.fault.Token)
	maps.DeleteFunc(reply, func(_ string, value any) bool { return value == nil })
	a.json(http.StatusOK, reply)
}

// granted returns the repositories in scopes, such as
// "repository:library/busybox:pull", from which user may pull.
func (h *Hub) granted(user string, scopes []string) map[string]bool {
	repos := map[string]bool{}
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 || parts[0] != "repository" {
			continue
		}
		exists, allowed := h.store.exists(h.opts.Profile.moved(parts[1]), user)
		allowed = allowed || !exists && h.opts.Profile.Tokens.GrantsMissing
		for action := range strings.SplitSeq(parts[2], ",") {
			if action == "pull" && allowed {
				repos[h.opts.Profile.moved(parts[1])] = true
			}
		}
	}
	return repos
}

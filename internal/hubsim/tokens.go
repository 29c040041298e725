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

// scope is what a token permits to do with a repository.
type scope struct{ repo, action string }

// grant is the user and the access of a token.
type grant struct {
	user    string // empty: anonymous
	scopes  map[scope]bool
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

// RevokeTokens makes all tokens that were issued before invalid.
func (h *Hub) RevokeTokens() {
	h.tokens.mu.Lock()
	defer h.tokens.mu.Unlock()
	clear(h.tokens.issued)
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
	scopes := h.granted(user, query["scope"])
	switch {
	case basic && !h.tokens.knows(user, password):
		h.tally.add(func(c *Counters) { c.TokenFailures++ })
		h.reply(a, r, service.BadLogin.or(Reply{Status: http.StatusUnauthorized, Body: `{"details":"incorrect username or password"}`}))
	case service.Service != "" && query.Get("service") != service.Service, service.OneScope && len(query["scope"]) > 1:
		a.fail(http.StatusBadRequest, "UNSUPPORTED", "unknown service or too many scopes", nil)
	case service.Denied.Status != 0 && query.Has("scope") && len(scopes) == 0:
		h.reply(a, r, service.Denied)
	default:
		h.sendToken(a, h.tokens.issue(grant{user: user, scopes: scopes, all: service.AnyRepo}, time.Now()))
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

// granted returns those of the requested scopes, such as
// "repository:library/busybox:pull", that user may have.
func (h *Hub) granted(user string, requested []string) map[scope]bool {
	scopes := map[scope]bool{}
	for _, line := range strings.Fields(strings.Join(requested, " ")) {
		parts := strings.Split(line, ":")
		if len(parts) != 3 || parts[0] != "repository" {
			continue
		}
		repo := h.opts.Profile.moved(parts[1])
		exists, allowed := h.store.exists(repo, user)
		allowed = allowed || !exists && h.opts.Profile.Tokens.GrantsMissing
		for action := range strings.SplitSeq(parts[2], ",") {
			if allowed && (action == "pull" || action == h.opts.Profile.Tags.Action) {
				scopes[scope{repo, action}] = true
			}
		}
	}
	return scopes
}

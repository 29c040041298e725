package hubsim

import (
	"net/http"
	"strings"
	"time"
)

// The reasons for a refusal: RFC 6750, section 3.1.
const (
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// open reports whether the registry requires no authorization.
func (h *Hub) open() bool { return h.opts.NoAuth || h.opts.Profile.Auth.Open }

// authorize returns the user of the request, or the handler that refuses it.
func (h *Hub) authorize(r *http.Request, t target) (user string, refused handler) {
	if h.open() {
		return "", h.checkRepo(t)
	}
	auth := h.opts.Profile.Auth
	g, sent, valid := h.grantOf(r)
	switch {
	case !sent:
		return "", h.refusal(t, "", auth.Required)
	case !valid:
		return "", h.refusal(t, invalidToken, auth.Invalid)
	case !h.allows(g, t):
		return "", h.refusal(t, insufficientScope, auth.Denied)
	}
	return g.user, h.checkRepo(t)
}

// grantOf returns the grant of the token, or of the login if that is accepted, which
// was sent with the request, and whether it is valid.
func (h *Hub) grantOf(r *http.Request) (g grant, sent, valid bool) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		g, valid = h.tokens.redeem(token, time.Now())
		return g, true, valid
	}
	user, password, ok := r.BasicAuth()
	if !ok || !h.opts.Profile.Auth.Basic {
		return grant{}, false, false
	}
	valid = h.tokens.knows(user, password)
	if !valid {
		h.tally.add(func(c *Counters) { c.TokenFailures++ })
	}
	return grant{user: user, all: true}, true, valid
}

func (h *Hub) allows(g grant, t target) bool {
	if !g.all {
		return g.scopes[scope{t.repo, h.action(t)}]
	}
	exists, allowed := h.store.exists(t.repo, g.user)
	return allowed || !exists
}

// action returns what a token for t must permit.
func (h *Hub) action(t target) string {
	if t.kind == "tags" && h.opts.Profile.Tags.Action != "" {
		return h.opts.Profile.Tags.Action
	}
	return "pull"
}

// checkRepo returns the handler for a missing repository, or nil.
func (h *Hub) checkRepo(t target) handler {
	if exists, _ := h.store.exists(t.repo, ""); exists {
		return nil
	}
	missing := h.opts.Profile.Missing.or(failure(http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry", nil))
	if t.kind == "tags" {
		missing = h.opts.Profile.Tags.Missing.or(missing)
	}
	return h.refusal(t, "", missing)
}

// refusal returns a handler that refuses a request for t; the zero target is /v2/.
// reason is an error code of RFC 6750 or empty. A 401, which the zero reply stands for,
// has the challenges of the registry.
func (h *Hub) refusal(t target, reason string, reply Reply) handler {
	return func(a *response, r *http.Request) {
		a.version()
		if reply.Status == 0 {
			reply = failure(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", h.permission(t))
		}
		if reply.Status == http.StatusUnauthorized {
			h.challenge(a.Header(), t, reason)
		}
		h.reply(a, r, reply)
	}
}

// permission is the detail of a 401 for t.
func (h *Hub) permission(t target) any {
	if t.repo == "" {
		return nil
	}
	return []map[string]string{{"Type": "repository", "Class": "", "Name": t.repo, "Action": h.action(t)}}
}

func (h *Hub) realm() string {
	if h.opts.Profile.Tokens.OtherHost {
		return h.other.root() + h.opts.Profile.Tokens.Path
	}
	return h.registry.root() + h.opts.Profile.Tokens.Path
}

// challenge sets WWW-Authenticate.
func (h *Hub) challenge(header http.Header, t target, reason string) {
	auth := h.opts.Profile.Auth
	challenges := auth.Challenges
	switch {
	case reason == invalidToken && auth.Rejected != nil:
		challenges = auth.Rejected
	case t.repo == "" && auth.Ping != nil:
		challenges = auth.Ping
	}
	wanted := ""
	if t.repo != "" {
		wanted = `,scope="repository:` + t.repo + `:` + h.action(t) + `"`
	}
	if reason != "" {
		reason = `,error="` + reason + `"`
	}
	words := strings.NewReplacer("{realm}", h.realm(), "{registry}", h.registry.root(), "{host}", h.registry.public(), "{scope}", wanted, "{error}", reason)
	for _, challenge := range challenges {
		header.Add("Www-Authenticate", words.Replace(challenge))
	}
}

// servePing serves /v2/, where clients discover the token service.
func (h *Hub) servePing(a *response, r *http.Request) {
	reply := Reply{Status: http.StatusOK, Body: "{}"}
	if _, _, valid := h.grantOf(r); !valid && !h.open() {
		reply = failure(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", nil)
	}
	if body := h.opts.Profile.Auth.PingBody; body != "" {
		reply.Body = body
	}
	h.refusal(target{}, "", reply)(a, r)
}

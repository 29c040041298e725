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
		return "", h.refusal(t.repo, "", auth.Required)
	case !valid:
		return "", h.refusal(t.repo, invalidToken, auth.Invalid)
	case !h.allows(g, t.repo):
		return "", h.refusal(t.repo, insufficientScope, auth.Denied)
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
	return grant{user: user, all: true}, true, h.tokens.knows(user, password)
}

func (h *Hub) allows(g grant, repo string) bool {
	if !g.all {
		return g.repos[repo]
	}
	exists, allowed := h.store.exists(repo, g.user)
	return allowed || !exists
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
	return h.refusal(t.repo, "", missing)
}

// refusal returns a handler that refuses a request for repo, or for none; reason is an
// error code of RFC 6750 or empty. A 401, which the zero reply stands for, has the
// challenges of the registry.
func (h *Hub) refusal(repo, reason string, reply Reply) handler {
	return func(a *response, r *http.Request) {
		a.version()
		if reply.Status == 0 {
			reply = failure(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", permission(repo))
		}
		if reply.Status == http.StatusUnauthorized {
			h.challenge(a.Header(), repo, reason)
		}
		h.reply(a, r, reply)
	}
}

// permission is the detail of a 401 for repo.
func permission(repo string) any {
	if repo == "" {
		return nil
	}
	return []map[string]string{{"Type": "repository", "Class": "", "Name": repo, "Action": "pull"}}
}

func (h *Hub) realm() string {
	if h.opts.Profile.Tokens.OtherHost {
		return h.other.root() + h.opts.Profile.Tokens.Path
	}
	return h.registry.root() + h.opts.Profile.Tokens.Path
}

// challenge sets WWW-Authenticate.
func (h *Hub) challenge(header http.Header, repo, reason string) {
	auth := h.opts.Profile.Auth
	challenges := auth.Challenges
	switch {
	case reason == invalidToken && auth.Rejected != nil:
		challenges = auth.Rejected
	case repo == "" && auth.Ping != nil:
		challenges = auth.Ping
	}
	if repo != "" {
		repo = `,scope="repository:` + repo + `:pull"`
	}
	if reason != "" {
		reason = `,error="` + reason + `"`
	}
	words := strings.NewReplacer("{realm}", h.realm(), "{registry}", h.registry.root(), "{host}", h.registry.public(), "{scope}", repo, "{error}", reason)
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
	h.refusal("", "", reply)(a, r)
}

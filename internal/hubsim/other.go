package hubsim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// serveOther serves the other host of the registry: its token service, what it forwards
// to, and a page for people.
func (h *Hub) serveOther(w http.ResponseWriter, r *http.Request) {
	op, handle := opOther, handler(servePage)
	profile := h.opts.Profile
	if t, ok := h.parseTarget(r.URL.Path); ok && profile.Forward.Status != 0 {
		op, handle = h.routeContent(r, t)
	}
	if profile.Tokens.OtherHost && r.URL.Path == profile.Tokens.Path {
		op, handle = opToken, h.serveToken
	} else if r.Header.Get("Authorization") != "" {
		h.tally.add(func(c *Counters) { c.OtherAuthorization++ })
	}
	h.serve(w, r, op, handle)
}

func servePage(a *response, _ *http.Request) {
	a.Header().Set("Content-Type", "text/html; charset=utf-8")
	a.text(http.StatusOK, []byte("<!DOCTYPE html><title>Sign in</title>\n"))
}

// forwards reports whether a request for t is redirected to the other host.
func (f Forward) forwards(r *http.Request, t target) bool {
	agent := r.UserAgent()
	begins := func(prefix string) bool { return strings.HasPrefix(agent, prefix) }
	return f.Status != 0 && slices.Contains(f.Kinds, t.kind) && (f.Agents == nil || slices.ContainsFunc(f.Agents, begins))
}

func (h *Hub) serveForward(a *response, r *http.Request) {
	a.Header().Set("Location", h.other.root()+r.URL.Path)
	a.text(h.opts.Profile.Forward.Status, nil)
}

// moved returns the name to which the registry redirects requests for a repository, or
// the same name.
func (p Profile) moved(repo string) string {
	project, name, ok := strings.Cut(repo, "/")
	if !ok || project != p.Proxied || strings.Contains(name, "/") {
		return repo
	}
	return project + "/library/" + name
}

func (h *Hub) serveMoved(a *response, r *http.Request, t target) {
	path := strings.Replace(r.URL.Path, "/"+t.repo+"/", "/"+h.opts.Profile.moved(t.repo)+"/", 1)
	a.Header().Set("Location", (&url.URL{Path: path, RawQuery: r.URL.RawQuery}).String())
	a.text(http.StatusMovedPermanently, nil)
}

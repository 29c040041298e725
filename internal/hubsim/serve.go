package hubsim

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

type handler func(a *answer, r *http.Request)

// ServeHTTP is the registry, its token service and the levers under /_sim/.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		h.serveLevers(w, r)
		return
	}
	op, handle := h.route(r)
	h.serve(w, r, op, handle)
}

func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, opCDN, h.serveLink)
}

// serve counts the request and lets its fault act before handle does.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request, op string, handle handler) {
	h.tally.arrive(op, r.Method)
	a := &answer{ResponseWriter: w, ctx: r.Context(), tally: h.tally, request: r.Method + " " + r.URL.Path, fault: h.faults.take(op, asked(r))}
	a.wait(a.fault.Latency)
	if !a.instead() {
		handle(a, r)
		a.goOn()
	}
}

// asked is what Fault.Match is a part of.
func asked(r *http.Request) string {
	return strings.Join(append([]string{r.URL.Path}, r.URL.Query()["scope"]...), "?")
}

// route says what a request to the registry's host asks for, and who answers.
func (h *Hub) route(r *http.Request) (op string, handle handler) {
	path := r.URL.Path
	if path == "/token" {
		return opToken, h.serveToken
	}
	if path == "/v2" || path == "/v2/" {
		return opPing, h.servePing
	}
	t, ok := parseTarget(path)
	if !ok {
		return opOther, h.serveNothing
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return opOther, serveUnsupported
	}
	user, refused := h.authorize(r, t)
	if refused != nil {
		return opChallenge, refused
	}
	t.user = user
	switch {
	case t.kind == "tags":
		return opTags, func(a *answer, r *http.Request) { h.serveTags(a, r, t) }
	case t.kind == "referrers":
		return opReferrers, func(a *answer, r *http.Request) { h.serveReferrers(a, r, t) }
	case t.kind == "blobs":
		return opBlob, func(a *answer, r *http.Request) { h.serveBlob(a, r, t) }
	case r.Method == http.MethodHead:
		return opManifestHead, func(a *answer, r *http.Request) { h.serveManifest(a, r, t) }
	default:
		return opManifest, func(a *answer, r *http.Request) { h.serveManifest(a, r, t) }
	}
}

// target is what a path below /v2/ names.
type target struct {
	repo      string
	kind      string // manifests, blobs, referrers or tags
	reference string // a tag or a digest; for tags: list
	user      string // who asks; empty: anonymous
}

var repoName = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

func parseTarget(path string) (target, bool) {
	path, ok := strings.CutPrefix(path, "/v2/")
	parts := strings.Split(path, "/")
	if !ok || len(parts) < 3 {
		return target{}, false
	}
	t := target{
		repo:      strings.Join(parts[:len(parts)-2], "/"),
		kind:      parts[len(parts)-2],
		reference: parts[len(parts)-1],
	}
	switch t.kind {
	case "manifests", "blobs", "referrers":
	case "tags":
		ok = t.reference == "list"
	default:
		ok = false
	}
	return t, ok && repoName.MatchString(t.repo)
}

// authorize returns who asks, or how the request is refused.
func (h *Hub) authorize(r *http.Request, t target) (user string, refused handler) {
	if h.opts.NoAuth {
		if exists, _ := h.store.exists(t.repo, ""); !exists {
			return "", serveNameUnknown
		}
		return "", nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", h.challenge(t.repo, "")
	}
	g, ok := h.tokens.redeem(token, time.Now())
	if !ok {
		return "", h.challenge(t.repo, "invalid_token")
	}
	if !g.repos[t.repo] {
		return "", h.challenge(t.repo, "insufficient_scope")
	}
	return g.user, nil
}

// challenge refuses a request for a repository, or for none, for want of a
// token; reason is an error of RFC 6750 or empty.
func (h *Hub) challenge(repo, reason string) handler {
	return func(a *answer, r *http.Request) {
		realm := h.registry.url(h.registry.public()) + "/token"
		challenge := `Bearer realm="` + realm + `",service="registry.docker.io"`
		var detail any
		if repo != "" {
			challenge += `,scope="repository:` + repo + `:pull"`
			detail = []map[string]string{{"Type": "repository", "Class": "", "Name": repo, "Action": "pull"}}
		}
		if reason != "" {
			challenge += `,error="` + reason + `"`
		}
		a.version()
		a.Header().Set("Www-Authenticate", challenge)
		a.fail(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", detail)
	}
}

func (a *answer) version() { a.Header().Set("Docker-Distribution-Api-Version", "registry/2.0") }

// servePing is the way clients find out about the token service.
func (h *Hub) servePing(a *answer, r *http.Request) {
	if !h.opts.NoAuth {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, ok := h.tokens.redeem(token, time.Now()); !ok {
			h.challenge("", "")(a, r)
			return
		}
	}
	a.version()
	a.json(http.StatusOK, struct{}{})
}

// serveNothing is for paths that Docker Hub does not have; it does have a
// catalog, but for nobody.
func (h *Hub) serveNothing(a *answer, r *http.Request) {
	if r.URL.Path == "/v2/_catalog" && !h.opts.NoAuth {
		h.challenge("", "insufficient_scope")(a, r)
		return
	}
	a.Header().Set("Content-Type", "text/plain; charset=utf-8")
	a.text(http.StatusNotFound, []byte("404 page not found\n"))
}

func serveNameUnknown(a *answer, _ *http.Request) {
	a.version()
	a.fail(http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry", nil)
}

func serveUnsupported(a *answer, _ *http.Request) {
	a.version()
	a.fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.", nil)
}

// parseDigest answers 400 itself when the reference is none.
func (a *answer) parseDigest(reference string) (digest.Digest, bool) {
	d, err := digest.Parse(reference)
	if err != nil {
		a.fail(http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content", nil)
	}
	return d, err == nil
}

package hubsim

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

type handler func(a *response, r *http.Request)

// ServeHTTP serves the registry, its token service and the controls under /_sim/.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		h.serveControl(w, r)
		return
	}
	op, handle := h.route(r)
	h.serve(w, r, op, handle)
}

func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, opCDN, h.serveLink)
}

// serve counts the request, applies its fault and calls handle.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request, op string, handle handler) {
	h.tally.arrive(op, r.Method)
	a := &response{ResponseWriter: w, ctx: r.Context(), tally: h.tally, request: r.Method + " " + r.URL.Path, fault: h.faults.take(op, matchKey(r))}
	a.wait(a.fault.Latency)
	if !a.serveFault() {
		handle(a, r)
		a.sendEndless()
	}
}

// matchKey returns the text in which Fault.Match is searched.
func matchKey(r *http.Request) string {
	return strings.Join(append([]string{r.URL.Path}, r.URL.Query()["scope"]...), "?")
}

// route returns the operation of a request to the host of the registry, and its
// handler.
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
		return opOther, h.serveNotFound
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
		return opTags, func(a *response, r *http.Request) { h.serveTags(a, r, t) }
	case t.kind == "referrers":
		return opReferrers, func(a *response, r *http.Request) { h.serveReferrers(a, r, t) }
	case t.kind == "blobs":
		return opBlob, func(a *response, r *http.Request) { h.serveBlob(a, r, t) }
	case r.Method == http.MethodHead:
		return opManifestHead, func(a *response, r *http.Request) { h.serveManifest(a, r, t) }
	default:
		return opManifest, func(a *response, r *http.Request) { h.serveManifest(a, r, t) }
	}
}

// target is what a path below /v2/ names.
type target struct {
	repo      string
	kind      string // manifests, blobs, referrers or tags
	reference string // a tag or a digest; for tags: list
	user      string // empty: anonymous
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

// authorize returns the user of the request, or the handler that refuses it.
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

// challenge returns a handler that refuses a request for repo, or for none, because
// it lacks a token; reason is an error code of RFC 6750 or empty.
func (h *Hub) challenge(repo, reason string) handler {
	return func(a *response, r *http.Request) {
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

func (a *response) version() { a.Header().Set("Docker-Distribution-Api-Version", "registry/2.0") }

// servePing serves /v2/, where clients discover the token service.
func (h *Hub) servePing(a *response, r *http.Request) {
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

// serveNotFound serves paths that Docker Hub does not have. It does have a catalog,
// but refuses it to everybody.
func (h *Hub) serveNotFound(a *response, r *http.Request) {
	if r.URL.Path == "/v2/_catalog" && !h.opts.NoAuth {
		h.challenge("", "insufficient_scope")(a, r)
		return
	}
	a.Header().Set("Content-Type", "text/plain; charset=utf-8")
	a.text(http.StatusNotFound, []byte("404 page not found\n"))
}

func serveNameUnknown(a *response, _ *http.Request) {
	a.version()
	a.fail(http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry", nil)
}

func serveUnsupported(a *response, _ *http.Request) {
	a.version()
	a.fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.", nil)
}

// parseDigest sends the 400 itself when reference is not a digest.
func (a *response) parseDigest(reference string) (digest.Digest, bool) {
	d, err := digest.Parse(reference)
	if err != nil {
		a.fail(http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content", nil)
	}
	return d, err == nil
}

package hubsim

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

type handler func(a *response, r *http.Request)

// ServeHTTP serves the registry, its token service and the controls under /_sim/.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(strings.TrimPrefix(r.URL.Path, h.opts.Profile.Prefix), "/_sim/") {
		h.serveControl(w, r)
		return
	}
	op, handle := h.route(r)
	h.serve(w, r, op, handle)
}

func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, opCDN, h.serveLink)
}

// serve counts the request, applies its fault and calls handle, unless the profile
// has a reply to it.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request, op string, handle handler) {
	h.tally.arrive(op, r.Method)
	a := &response{ResponseWriter: w, ctx: r.Context(), tally: h.tally, request: r.Method + " " + r.URL.Path, fault: h.faults.take(op, matchKey(r))}
	if op != opCDN {
		a.header = h.opts.Profile.Header
	}
	a.wait(a.fault.Latency)
	reply, fixed := h.opts.Profile.Replies[r.Method+" "+op]
	switch {
	case h.serveFault(a, r):
	case fixed:
		h.refusal(target{}, "", reply)(a, r)
	default:
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
	profile := h.opts.Profile
	path, ok := strings.CutPrefix(r.URL.Path, profile.Prefix)
	t, named := h.parseTarget(r.URL.Path)
	switch {
	case r.URL.Path == profile.Tokens.Path && !profile.Tokens.OtherHost:
		return opToken, h.serveToken
	case profile.Blobs.Relative && strings.HasPrefix(r.URL.Path, linkRoot):
		return opCDN, h.serveLink
	case ok && (path == "/v2" || path == "/v2/"):
		return opPing, h.servePing
	case !named:
		return opOther, h.serveNotFound
	case profile.Forward.forwards(r, t):
		return opForward, h.serveForward
	case profile.moved(t.repo) != t.repo:
		return opForward, func(a *response, r *http.Request) { h.serveMoved(a, r, t) }
	}
	return h.routeContent(r, t)
}

// routeContent returns the operation of a request for t, and its handler.
func (h *Hub) routeContent(r *http.Request, t target) (op string, handle handler) {
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

func (h *Hub) parseTarget(path string) (target, bool) {
	path, ok := strings.CutPrefix(path, h.opts.Profile.Prefix+"/v2/")
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

func (a *response) version() { a.Header().Set("Docker-Distribution-Api-Version", "registry/2.0") }

// serveNotFound serves paths that Docker Hub does not have. It does have a catalog,
// but refuses it to everybody.
func (h *Hub) serveNotFound(a *response, r *http.Request) {
	if r.URL.Path == h.opts.Profile.Prefix+"/v2/_catalog" && !h.open() {
		h.refusal(target{}, insufficientScope, Reply{})(a, r)
		return
	}
	a.Header().Set("Content-Type", "text/plain; charset=utf-8")
	a.text(http.StatusNotFound, []byte("404 page not found\n"))
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

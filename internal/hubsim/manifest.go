package hubsim

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// serveManifest serves GET, which costs the client a pull, and HEAD, which is free
// and works when the quota is used up.
func (h *Hub) serveManifest(a *response, r *http.Request, t target) {
	a.version()
	m, ok := h.store.manifest(t.repo, t.reference)
	if !ok {
		a.fail(http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown", map[string]string{"unknown": t.reference})
		return
	}
	if !accepts(r.Header.Values("Accept"), m.mediaType) {
		a.fail(http.StatusNotFound, "MANIFEST_UNKNOWN", notAccepted(m.mediaType), nil)
		return
	}
	price := 0
	if r.Method == http.MethodGet {
		price = 1
	}
	client := identity(r, t.user)
	left, ok := h.quota.take(client, price, time.Now())
	h.quota.announce(a.Header(), client, left)
	if !ok {
		a.pullLimit(t.user)
		return
	}
	a.Header().Set("Content-Type", m.mediaType)
	a.Header().Set("Docker-Content-Digest", m.digest.String())
	a.Header().Set("Etag", `"`+m.digest.String()+`"`)
	if r.Method == http.MethodHead {
		a.Header().Set("Content-Length", strconv.Itoa(len(m.raw)))
		a.WriteHeader(http.StatusOK)
		return
	}
	h.tally.add(func(c *Counters) {
		c.ManifestGETs++
		c.ManifestGETsByDigest[m.digest.String()]++
	})
	h.sendManifest(a, m)
}

func (h *Hub) sendManifest(a *response, m manifest) {
	a.chunked = h.opts.NoLength
	body, size := a.content(bytes.NewReader(m.raw), int64(len(m.raw)))
	a.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	a.WriteHeader(http.StatusOK)
	_, _ = io.Copy(a, body)
}

// identity returns whose quota a request uses.
func identity(r *http.Request, user string) string {
	if user != "" {
		return user
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// accepts reports whether the client accepts a media type. Without an Accept header
// it accepts none, as at Docker Hub.
func accepts(accept []string, mediaType string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		offered, _, _ := strings.Cut(part, ";")
		if offered = strings.TrimSpace(offered); offered == "*/*" || offered == mediaType {
			return true
		}
	}
	return false
}

func notAccepted(mediaType string) string {
	switch types.MediaType(mediaType) {
	case types.OCIImageIndex:
		return "OCI index found, but accept header does not support OCI indexes"
	case types.OCIManifestSchema1:
		return "OCI manifest found, but accept header does not support OCI manifests"
	default:
		return mediaType + " found, but accept header does not support it"
	}
}

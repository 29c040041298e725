package hubsim

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// serveManifest serves GET, which costs the client a pull, and HEAD, which is free
// and works when the quota is used up.
func (h *Hub) serveManifest(a *response, r *http.Request, t target) {
	a.version()
	profile := h.opts.Profile.Manifests
	m, ok := h.store.manifest(t.repo, t.reference)
	if !ok {
		unknown := failure(http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown", map[string]string{"unknown": t.reference})
		h.refusal(t, "", profile.Missing.or(unknown))(a, r)
		return
	}
	if !profile.accepts(r.Header.Values("Accept"), m.mediaType) {
		h.reply(a, r, profile.NotAccepted.or(failure(http.StatusNotFound, "MANIFEST_UNKNOWN", notAccepted(m.mediaType), nil)))
		return
	}
	price := 0
	if r.Method == http.MethodGet {
		price = 1
	}
	client := identity(r, t.user)
	left, ok := h.quota.take(client, price, time.Now())
	if !h.opts.Profile.NoQuota {
		h.quota.announce(a.Header(), client, left)
	}
	if !ok {
		h.pullLimit(a, r, t.user)
		return
	}
	a.Header().Set("Content-Type", cmp.Or(profile.Type, m.mediaType))
	if !slices.Contains(strings.Fields(profile.NoDigest), r.Method) {
		a.Header().Set("Docker-Content-Digest", m.digest.String())
		a.Header().Set("Etag", `"`+m.digest.String()+`"`)
	}
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
	a.chunked = h.opts.NoLength || h.opts.Profile.Manifests.Chunked
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
func (m Manifests) accepts(accept []string, mediaType string) bool {
	if m.AnyAccept {
		return true
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		offered, _, _ := strings.Cut(part, ";")
		if offered = strings.TrimSpace(offered); offered == "*/*" && !m.NoWildcard || offered == mediaType {
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

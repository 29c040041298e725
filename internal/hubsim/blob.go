package hubsim

import (
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// serveBlob serves a blob at the registry: it answers a HEAD, and redirects a GET to
// the CDN.
func (h *Hub) serveBlob(a *response, r *http.Request, t target) {
	a.version()
	d, ok := a.parseDigest(t.reference)
	if !ok {
		return
	}
	b, ok := h.store.blob(t.repo, d)
	if !ok {
		a.fail(http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry", map[string]string{"digest": d.String()})
		return
	}
	profile := h.opts.Profile.Blobs
	a.Header().Set("Content-Type", "application/octet-stream")
	switch {
	case r.Method == http.MethodHead && !profile.RedirectHead:
		a.Header().Set("Docker-Content-Digest", d.String())
		a.Header().Set("Content-Length", strconv.FormatInt(b.size, 10))
		a.WriteHeader(http.StatusOK)
	case h.opts.Direct || profile.Direct:
		a.Header().Set("Docker-Content-Digest", d.String())
		h.sendBlob(a, r, d, b)
	default:
		a.Header().Set("Location", h.location(d))
		h.reply(a, r, profile.Redirect.or(Reply{Status: http.StatusTemporaryRedirect, Type: "application/octet-stream"}))
	}
}

// location returns where a blob is redirected.
func (h *Hub) location(d digest.Digest) string {
	link := h.link(http.MethodGet, d, time.Now().Add(h.opts.LinkTTL))
	if h.opts.Profile.Blobs.Relative {
		return strings.TrimPrefix(link, h.cdn.root())
	}
	return link
}

const linkRoot = "/registry-v2/docker/registry/v2/blobs"

// link returns the URL of a blob at the CDN, signed for one method until expires.
func (h *Hub) link(method string, d digest.Digest, expires time.Time) string {
	where := path.Join(linkRoot, d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
	until := strconv.FormatInt(expires.UnixMilli(), 10)
	query := url.Values{"expires": {until}, "sig": {h.sign(method, where, until)}}
	return h.cdn.root() + where + "?" + query.Encode()
}

func (h *Hub) sign(method, where, expires string) string {
	mac := hmac.New(sha256.New, h.secret)
	mac.Write([]byte(method + "\n" + where + "\n" + expires))
	return hex.EncodeToString(mac.Sum(nil))
}

// validLink checks the signature of link.
func (h *Hub) validLink(r *http.Request, now time.Time) bool {
	until := r.URL.Query().Get("expires")
	milli, err := strconv.ParseInt(until, 10, 64)
	signature := h.sign(r.Method, r.URL.Path, until)
	return err == nil && now.Before(time.UnixMilli(milli)) &&
		hmac.Equal([]byte(signature), []byte(r.URL.Query().Get("sig")))
}

// serveLink serves a blob at the CDN: it accepts signed links, and rejects requests
// with Authorization.
func (h *Hub) serveLink(a *response, r *http.Request) {
	a.Header().Set("Content-Type", "text/plain")
	if r.Header.Get("Authorization") != "" && !h.opts.Profile.Blobs.Relative {
		h.tally.add(func(c *Counters) { c.CDNAuthorization++ })
		a.text(http.StatusBadRequest, []byte("Only one auth mechanism allowed\n"))
		return
	}
	if !h.validLink(r, time.Now()) {
		h.tally.add(func(c *Counters) { c.CDNForbidden++ })
		a.text(http.StatusForbidden, []byte("Access denied\n"))
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, linkRoot+"/"), "/")
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[0]), parts[2]) // signed by link, so the parts exist
	b, ok := h.store.anyBlob(d)
	if !ok {
		a.text(http.StatusNotFound, []byte("Not found\n"))
		return
	}
	a.Header().Set("Content-Type", "application/octet-stream")
	h.sendBlob(a, r, d, b)
}

// sendBlob sends a blob or a range of it.
func (h *Hub) sendBlob(a *response, r *http.Request, d digest.Digest, b blob) {
	file, err := b.open()
	if err != nil {
		a.text(http.StatusInternalServerError, []byte(err.Error()))
		return
	}
	defer file.Close()
	wanted := r.Header.Get("Range")
	h.tally.add(func(c *Counters) {
		if wanted != "" {
			c.RangeGETs++
		}
		if wanted == "" || strings.HasPrefix(wanted, "bytes=0-") {
			c.BlobGETsByDigest[d.String()]++
		}
	})
	profile := h.opts.Profile.Blobs
	several := strings.Contains(wanted, ",")
	switch {
	case several && profile.MultiRange >= http.StatusBadRequest:
		a.text(profile.MultiRange, nil)
		return
	case a.fault.NoRanges, several && profile.MultiRange == http.StatusOK:
		r.Header.Del("Range")
	}
	if profile.Gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		a.compress(file)
		return
	}
	a.Header().Set("Etag", `"`+d.Encoded()+`"`)
	a.blob, a.chunked = true, h.opts.NoLength
	body, _ := a.content(file, b.size)
	http.ServeContent(a, a.ranged(r), "", time.Time{}, body)
}

// compress sends content compressed.
func (a *response) compress(content io.Reader) {
	a.Header().Set("Content-Encoding", "gzip")
	a.chunked = true
	w := gzip.NewWriter(a)
	_, _ = io.Copy(w, content)
	_ = w.Close()
}

// ranged returns r with the range that the fault substitutes.
func (a *response) ranged(r *http.Request) *http.Request {
	wanted := r.Header.Get("Range")
	r = r.Clone(r.Context())
	if a.fault.IgnoreRange {
		r.Header.Del("Range")
	}
	from, open := strings.CutSuffix(strings.TrimPrefix(wanted, "bytes="), "-")
	if first, err := strconv.ParseInt(from, 10, 64); err == nil && open && a.fault.ShortRange > 0 {
		r.Header.Set("Range", wanted+strconv.FormatInt(first+a.fault.ShortRange-1, 10))
	}
	return r
}

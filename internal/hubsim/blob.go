package hubsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// serveBlob is the registry's end: HEAD is answered, GET is sent to the CDN.
func (h *Hub) serveBlob(a *answer, r *http.Request, t target) {
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
	a.Header().Set("Content-Type", "application/octet-stream")
	switch {
	case r.Method == http.MethodHead:
		a.Header().Set("Docker-Content-Digest", d.String())
		a.Header().Set("Content-Length", strconv.FormatInt(b.size, 10))
		a.WriteHeader(http.StatusOK)
	case h.opts.Direct:
		a.Header().Set("Docker-Content-Digest", d.String())
		h.sendBlob(a, r, d, b)
	default:
		a.Header().Set("Location", h.link(r.Method, d, time.Now().Add(h.opts.LinkTTL)))
		a.Header().Set("Content-Length", "0")
		a.WriteHeader(http.StatusTemporaryRedirect)
	}
}

const linkRoot = "/registry-v2/docker/registry/v2/blobs"

// link is where the CDN has a blob, signed for one method and until expires.
func (h *Hub) link(method string, d digest.Digest, expires time.Time) string {
	where := path.Join(linkRoot, d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
	until := strconv.FormatInt(expires.UnixMilli(), 10)
	query := url.Values{"expires": {until}, "sig": {h.sign(method, where, until)}}
	return h.cdn.url(h.cdn.public()) + where + "?" + query.Encode()
}

func (h *Hub) sign(method, where, expires string) string {
	mac := hmac.New(sha256.New, h.secret)
	mac.Write([]byte(method + "\n" + where + "\n" + expires))
	return hex.EncodeToString(mac.Sum(nil))
}

// valid checks what link has signed.
func (h *Hub) valid(r *http.Request, now time.Time) bool {
	until := r.URL.Query().Get("expires")
	milli, err := strconv.ParseInt(until, 10, 64)
	signature := h.sign(r.Method, r.URL.Path, until)
	return err == nil && now.Before(time.UnixMilli(milli)) &&
		hmac.Equal([]byte(signature), []byte(r.URL.Query().Get("sig")))
}

// serveLink is the CDN's end: it knows links, and refuses who tells more.
func (h *Hub) serveLink(a *answer, r *http.Request) {
	a.Header().Set("Content-Type", "text/plain")
	if r.Header.Get("Authorization") != "" {
		h.tally.add(func(c *Counters) { c.CDNAuthorization++ })
		a.text(http.StatusBadRequest, []byte("Only one auth mechanism allowed\n"))
		return
	}
	if !h.valid(r, time.Now()) {
		h.tally.add(func(c *Counters) { c.CDNForbidden++ })
		a.text(http.StatusForbidden, []byte("Access denied\n"))
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, linkRoot+"/"), "/")
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[0]), parts[2]) // signed by link, so it has them
	b, ok := h.store.anyBlob(d)
	if !ok {
		a.text(http.StatusNotFound, []byte("Not found\n"))
		return
	}
	a.Header().Set("Content-Type", "application/octet-stream")
	h.sendBlob(a, r, d, b)
}

// sendBlob answers the whole or a range.
func (h *Hub) sendBlob(a *answer, r *http.Request, d digest.Digest, b blob) {
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
	if a.fault.NoRanges {
		r.Header.Del("Range")
	}
	a.Header().Set("Etag", `"`+d.Encoded()+`"`)
	a.blob, a.chunked = true, h.opts.NoLength
	body, _ := a.content(file, b.size)
	http.ServeContent(a, a.ranged(r), "", time.Time{}, body)
}

// ranged is r with the range that the fault makes of its own.
func (a *answer) ranged(r *http.Request) *http.Request {
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

package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

const (
	listsMemory = 32 << 20 // maximum bytes of large lists that are being sent at once
	smallList   = 64 << 10 // lists up to this size in bytes are not limited
)

func (h *Handler) serveList(w http.ResponseWriter, r *http.Request, t target, to route.Route, e *Event) error {
	q, err := t.listing(to)
	if err != nil {
		return err
	}
	e.Repository, e.Reference = q.Repository(), q.Subject().String()
	page, err := h.options.Registry.List(r.Context(), q)
	if err != nil {
		return err
	}
	if size := page.Size(); size > smallList {
		if !h.lists.TryAcquire(size) {
			return oci.Errorf(oci.Unavailable, "the mirror is sending as many large lists as it can; try again, or request fewer tags with n")
		}
		defer h.lists.Release(size)
	}
	e.Via, e.Reason = page.Via, page.Reason
	body, contentType := page.Index, ocispec.MediaTypeImageIndex
	if t.endpoint == tags {
		contentType = "application/json"
		if body, err = json.Marshal(tagList{Name: t.name, Tags: nonNil(page.Tags)}); err != nil {
			return err
		}
	}
	t.setListHeaders(w.Header(), r.URL, page)
	w.Header().Set("Content-Type", contentType)
	return cutShort(writeBody(w, r, http.StatusOK, body))
}

func (t target) setListHeaders(header http.Header, u *url.URL, page *oci.Page) {
	header.Set(viaHeader, string(page.Via))
	if page.Via == oci.Stale {
		setStale(header, page.Reason, page.Checked)
	}
	if page.FiltersApplied != "" {
		header.Set("OCI-Filters-Applied", page.FiltersApplied)
	}
	if page.Next != "" {
		header.Set("Link", t.link(u, page.Next))
	}
}

type tagList struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

// nonNil makes the JSON of an empty list "[]" instead of "null".
func nonNil(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

// listing parses a request for a list. The paging parameters are passed to the
// upstream, without ns. n must be a number; one that overflows becomes the largest,
// since it asks for all entries.
func (t target) listing(to route.Route) (oci.Listing, error) {
	query := make(url.Values, len(t.query))
	for name, values := range t.query {
		if name != "ns" {
			query[name] = values
		}
	}
	if n := query.Get("n"); n != "" {
		number, err := strconv.ParseUint(n, 10, 31)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return oci.Listing{}, invalidParameter("n must be a whole number, 0 or more")
		}
		query.Set("n", strconv.FormatUint(number, 10))
	}
	if t.endpoint == tags {
		return oci.ParseTags(to.Upstream, to.Repository, query.Encode())
	}
	return oci.ParseReferrers(to.Upstream, to.Repository, t.reference, query.Encode())
}

// link returns the Link to the next page, with the path and the ns of the client's
// request. It is relative: only the client knows under which name it reached the
// mirror, and containers/image uses only path and query.
func (t target) link(u *url.URL, next string) string {
	if ns := t.query.Get("ns"); ns != "" {
		next += "&ns=" + url.QueryEscape(ns)
	}
	next = strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", "\r", "", "\n", "").Replace(next)
	return fmt.Sprintf(`<%s?%s>; rel="next"`, u.EscapedPath(), next)
}

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
	if n, ok, _ := t.pageSize(); ok && n == 0 {
		page = &oci.Page{Via: page.Via, Reason: page.Reason, Checked: page.Checked}
	}
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
	setVia(header, page.Via)
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
// upstream, without ns. For no tags it asks for one: that shows whether there is such
// a repository, and some registries refuse 0.
func (t target) listing(to route.Route) (oci.Listing, error) {
	query := make(url.Values, len(t.query))
	for name, values := range t.query {
		if name != "ns" {
			query[name] = values
		}
	}
	n, ok, err := t.pageSize()
	if err != nil {
		return oci.Listing{}, err
	}
	if ok {
		query.Set("n", strconv.FormatUint(max(n, 1), 10))
	}
	if t.endpoint == tags {
		return oci.ParseTags(to.Upstream, to.Repository, query.Encode())
	}
	return oci.ParseReferrers(to.Upstream, to.Repository, t.reference, query.Encode())
}

// pageSize returns the parameter n of a list, if it has one. A number that
// overflows becomes the largest, since it asks for all entries. The spec has no n for
// referrers.
func (t target) pageSize() (n uint64, ok bool, err error) {
	text := t.query.Get("n")
	if t.endpoint == referrers || text == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseUint(text, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false, invalidParameter("n must be a whole number, 0 or more")
	}
	return n, true, nil
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

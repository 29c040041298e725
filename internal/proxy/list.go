package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

func (h *Handler) serveList(w http.ResponseWriter, r *http.Request, t target, upstream string, e *Event) error {
	q, err := t.listing(upstream)
	if err != nil {
		return err
	}
	e.Repository, e.Reference = q.Repository(), q.Subject().String()
	page, err := h.Registry.List(r.Context(), q)
	if err != nil {
		return err
	}
	e.Via = page.Via
	body, contentType := page.Index, ocispec.MediaTypeImageIndex
	if t.endpoint == tags {
		contentType = "application/json"
		if body, err = json.Marshal(tagList{Name: t.name, Tags: nonNil(page.Tags)}); err != nil {
			return err
		}
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set(viaHeader, string(page.Via))
	if page.FiltersApplied != "" {
		header.Set("OCI-Filters-Applied", page.FiltersApplied)
	}
	if page.Next != "" {
		header.Set("Link", t.link(r.URL, page.Next))
	}
	return cut(writeBody(w, r, http.StatusOK, body))
}

type tagList struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

// nonNil makes an empty list "[]" and not "null".
func nonNil(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

// listing parses a request for a list. The paging parameters are the
// upstream's; ns is not among them, and n must be a number.
func (t target) listing(upstream string) (oci.Listing, error) {
	query := make(url.Values, len(t.query))
	for name, values := range t.query {
		if name != "ns" {
			query[name] = values
		}
	}
	if n := query.Get("n"); n != "" {
		if _, err := strconv.ParseUint(n, 10, 31); err != nil {
			return oci.Listing{}, badParameter("n must be a number of tags, 0 or more")
		}
	}
	if t.endpoint == tags {
		return oci.ParseTags(upstream, t.name, query.Encode())
	}
	return oci.ParseReferrers(upstream, t.name, t.reference, query.Encode())
}

// link returns the Link to the next page, at the path the client asked, with
// its ns. It is relative: containers/image keeps only path and query, and a
// client knows best under which name it reached the mirror.
func (t target) link(u *url.URL, next string) string {
	if ns := t.query.Get("ns"); ns != "" {
		next += "&ns=" + url.QueryEscape(ns)
	}
	next = strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", "\r", "", "\n", "").Replace(next)
	return fmt.Sprintf(`<%s?%s>; rel="next"`, u.EscapedPath(), next)
}

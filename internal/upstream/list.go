package upstream

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// maxList bounds a list's answer, in bytes.
const maxList = 32 << 20

// List asks for one page.
func (r *Registry) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	ctx, _, cancel := untilAnswer(ctx)
	defer cancel()
	path := q.Repository() + "/tags/list"
	accept := "application/json"
	if q.Kind() == oci.Referrers {
		path, accept = q.Repository()+"/referrers/"+q.Subject().String(), ocispec.MediaTypeImageIndex
	}
	resp, err := r.do(ctx, request{
		operation: ListOperation, method: http.MethodGet, url: r.url(path, q.Query()),
		repository: q.Repository(), accept: accept,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err != nil || len(raw) > maxList {
		return nil, oci.Errorf(oci.Unavailable, "%s: list of %s broke off or is larger than %d bytes", r.Name, q.Repository(), maxList)
	}
	page := &oci.Page{Next: next(resp), Via: oci.Pass}
	if q.Kind() == oci.Referrers {
		return page, r.readReferrers(page, resp, raw)
	}
	var tags struct{ Tags []string }
	if err := json.Unmarshal(raw, &tags); err != nil {
		return nil, oci.Errorf(oci.Unavailable, "%s: list of %s is no JSON: %w", r.Name, q.Repository(), err)
	}
	page.Tags = tags.Tags
	return page, nil
}

func (r *Registry) readReferrers(page *oci.Page, resp *http.Response, raw []byte) error {
	if t := mediaType(resp); t != ocispec.MediaTypeImageIndex || !json.Valid(raw) {
		return oci.Errorf(oci.Unavailable, "%s sends %q where an index of referrers should be", r.Name, t)
	}
	page.Index, page.FiltersApplied = raw, resp.Header.Get("OCI-Filters-Applied")
	return nil
}

// next returns the query of the Link to the next page: RFC 8288.
func next(resp *http.Response) string {
	links := strings.Split(strings.Join(resp.Header.Values("Link"), ","), "<")
	for _, link := range links[1:] {
		target, parameters, ok := strings.Cut(link, ">")
		if !ok || !isNext(parameters) {
			continue
		}
		if u, err := url.Parse(strings.Trim(target, " \t")); err == nil {
			return u.RawQuery
		}
	}
	return ""
}

// isNext reports whether the parameters of a link, which a comma may follow,
// say that it leads to the next page.
func isNext(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimRight(parameter, ", "), "=")
		relations := strings.Fields(strings.ToLower(strings.Trim(value, `" `)))
		if strings.EqualFold(strings.TrimSpace(name), "rel") && slices.Contains(relations, "next") {
			return true
		}
	}
	return false
}

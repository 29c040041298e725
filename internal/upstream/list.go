package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"mirrord/internal/oci"
)

const (
	maxList     = 8 << 20  // bytes of one list
	listsMemory = 32 << 20 // bytes of all lists of one credential that are being read
)

// List asks for one page.
func (r *Registry) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	ctx, _, cancel := r.withResponseTimeout(ctx)
	defer cancel()
	repository := r.remote(q.Repository())
	path := repository + "/tags/list"
	accept := "application/json"
	if q.Kind() == oci.Referrers {
		path, accept = repository+"/referrers/"+q.Subject().String(), ocispec.MediaTypeImageIndex
	}
	resp, err := r.do(ctx, request{
		operation: ListOperation, method: http.MethodGet, url: r.url(path, q.Query()),
		repository: repository, accept: accept, list: q,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if t := mediaType(resp); q.Kind() == oci.Referrers && t != ocispec.MediaTypeImageIndex {
		return nil, r.noReferrersError("the response is %q, not an index of referrers", t)
	}
	body := &budgetedReader{from: progressing(ctx, io.LimitReader(resp.Body, maxList+1)), budget: r.lists}
	defer body.release()
	raw, err := io.ReadAll(body)
	if err == nil && len(raw) > maxList {
		err = fmt.Errorf("it is larger than %d bytes: request fewer with n", maxList)
	}
	if err != nil {
		return nil, oci.Errorf(oci.Unavailable, "%s: cannot read the list of %s: %w", r.opts.Name, q.Repository(), redact(err))
	}
	page := &oci.Page{Next: nextQuery(resp), Via: oci.Pass}
	if err := readPage(page, q, resp, raw); err != nil {
		return nil, oci.Errorf(oci.Unavailable, "%s: list of %s: %w", r.opts.Name, q.Repository(), err)
	}
	return page, nil
}

// readPage reads raw into page. A truncated or unrelated body must not look like a
// list without entries.
func readPage(page *oci.Page, q oci.Listing, resp *http.Response, raw []byte) error {
	var body struct {
		Tags      *[]string
		Manifests *[]json.RawMessage
		Name      *string
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return fmt.Errorf("invalid JSON: %w", err)
	}
	switch {
	case q.Kind() == oci.Referrers && body.Manifests == nil:
		return errors.New("the response is not an index")
	case q.Kind() == oci.Referrers:
		page.Index, page.FiltersApplied = raw, filtersApplied(q, resp)
	case body.Tags != nil:
		page.Tags = *body.Tags
	case body.Name == nil: // tags may be null
		return errors.New("the response is not a list of tags")
	}
	return nil
}

// filtersApplied returns what the registry says that it has filtered by. Where q asks
// for no filter, it says nothing: a client would take the list for a part of all.
func filtersApplied(q oci.Listing, resp *http.Response) string {
	if query, err := url.ParseQuery(q.Query()); err != nil || !query.Has("artifactType") {
		return ""
	}
	return resp.Header.Get("OCI-Filters-Applied")
}

// budgetedReader reads no more than is left of a budget that it shares with others.
type budgetedReader struct {
	from   io.Reader
	budget *semaphore.Weighted
	taken  int64
}

var errListMemory = errors.New("too many large lists are being read at once")

func (r *budgetedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if !r.budget.TryAcquire(int64(n)) {
		return 0, errListMemory
	}
	r.taken += int64(n)
	return n, err
}

func (r *budgetedReader) release() { r.budget.Release(r.taken) }

// noReferrersError returns the error for a registry without a referrers API.
func (r *Registry) noReferrersError(format string, args ...any) error {
	return oci.Errorf(oci.Unsupported, "%s: %w: %w", r.opts.Name, oci.ErrNoReferrers, fmt.Errorf(format, args...))
}

// listError returns the error for a list that was refused because it is a list, or
// nil when content would be refused too. Only its refusals show whether a registry
// has a referrers API, and they differ: distribution responds "404 page not found",
// others 405, 501 or an HTML page, and quay.io 400 for an unknown subject.
// NAME_UNKNOWN is passed on only when the registry itself sends it, because clients
// do not fall back to a tag then.
func (r *Registry) listError(q request, refused *refusal) error {
	switch {
	case q.list == oci.Listing{}, refused.has("DENIED", "UNAUTHORIZED", "TOOMANYREQUESTS"):
		return nil
	case q.list.Kind() == oci.Referrers && refused.code == http.StatusNotFound && refused.has("NAME_UNKNOWN"):
		return nil
	case q.list.Kind() == oci.Referrers && slices.Contains(noReferrersStatuses, refused.code):
		return r.noReferrersError("%s%s", refused.status, refused.message)
	case q.list.Kind() == oci.Tags && refused.code == http.StatusBadRequest,
		q.list.Kind() == oci.Tags && refused.code == http.StatusMethodNotAllowed && q.list.Query() != "": // Amazon, when n is large
		return oci.Errorf(oci.Unsupported, "%w: %s responded with %s%s", oci.ErrParameter, r.opts.Name, refused.status, refused.message)
	}
	return nil
}

var noReferrersStatuses = []int{
	http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
}

// nextQuery returns the query of the Link to the next page: RFC 8288.
func nextQuery(resp *http.Response) string {
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

package proxy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// Catalog returns the repositories with cached tags by upstream, those that the client of
// ctx may know of. It may be called concurrently.
type Catalog func(ctx context.Context) map[string][]string

// Entries in a page of the catalog.
const (
	catalogPage = 100 // unless the client says how many
	catalogMost = 1000
)

// serveCatalog lists the cached repositories: those of the upstream that the request
// names, else all, under the names by which they can be pulled from here.
func (h *Handler) serveCatalog(w http.ResponseWriter, r *http.Request, t target, to route.Route) error {
	if h.options.Catalog == nil {
		return &oci.Error{Code: oci.Unsupported, Message: "the catalog is not served by this mirror (its operator can turn it on with clients.catalog)", Err: errNoEndpoint}
	}
	n, ok, err := t.pageSize()
	if err != nil {
		return err
	}
	number := catalogPage
	if ok {
		number = int(min(n, catalogMost))
	}
	names := h.catalogNames(r.Context(), to)
	first, exact := slices.BinarySearch(names, t.query.Get("last"))
	if exact {
		first++
	}
	page := names[first:min(first+number, len(names))]
	if number > 0 && first+number < len(names) {
		next := url.Values{"n": {strconv.Itoa(number)}, "last": {page[number-1]}}
		w.Header().Set("Link", t.link(r.URL, next.Encode()))
	}
	body, err := json.Marshal(map[string][]string{"repositories": nonNil(page)})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return cutShort(writeBody(w, r, http.StatusOK, body))
}

// catalogNames returns the sorted names of the repositories for a request that goes
// there.
func (h *Handler) catalogNames(ctx context.Context, to route.Route) []string {
	var names []string
	for upstream, repositories := range h.options.Catalog(ctx) {
		prefix := ""
		switch {
		case upstream == to.Upstream:
		case to.Named:
			continue
		default:
			prefix = upstream + "/"
		}
		for _, repository := range repositories {
			names = append(names, prefix+repository)
		}
	}
	slices.Sort(names)
	return names
}

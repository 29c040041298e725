package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

type endpoint uint8

const (
	unknown endpoint = iota
	ping
	catalog
	manifests
	blobs
	tags
	referrers
)

// target is what the URL of a request names; its parts are not validated yet.
type target struct {
	endpoint  endpoint
	prefix    string // the component before /v2, empty if there is none
	name      string // of the repository, for the client
	reference string
	query     url.Values
}

func parsePath(u *url.URL) (target, error) {
	prefix, path := cutPrefix(u.EscapedPath())
	t, err := parseEndpoint(path)
	t.prefix = prefix
	if u.RawQuery == "" {
		return t, err
	}
	query, queryErr := url.ParseQuery(u.RawQuery)
	t.query = query
	if err == nil && queryErr != nil {
		// The malformed part may be the ns, which must not become the default.
		err = invalidParameter("the query of the URL is malformed")
	}
	return t, err
}

// cutPrefix cuts off one component before /v2, in which a client may name the
// upstream.
func cutPrefix(path string) (prefix, rest string) {
	if path == "/v2" || strings.HasPrefix(path, "/v2/") {
		return "", path
	}
	first, after, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if after != "v2" && !strings.HasPrefix(after, "v2/") {
		return "", path
	}
	prefix, err := url.PathUnescape(first)
	if err != nil || prefix == "" {
		return "", path
	}
	return prefix, "/" + after
}

// parseEndpoint splits a path of the API. The last part may be escaped (some
// clients escape the colon of a digest), the name of the repository may not: a
// name with an escaped slash is invalid.
func parseEndpoint(path string) (target, error) {
	t := target{}
	if path == "/v2" || path == "/v2/" {
		t.endpoint = ping
		return t, nil
	}
	if path == "/v2/_catalog" {
		t.endpoint = catalog
		return t, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if strings.HasPrefix(path, "/v1/") {
		return t, oci.Errorf(oci.NameUnknown, "search and the rest of registry API v1 are not supported by this mirror; search at the registry itself")
	}
	if !ok {
		return t, oci.Errorf(oci.NameUnknown, "not found: the registry API is at /v2/")
	}
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		t.endpoint, t.name = tags, name
		return t, nil
	}
	rest, last, _ := cutLast(rest)
	name, word, _ := cutLast(rest)
	t.endpoint = endpointOf(word)
	reference, err := url.PathUnescape(last)
	if err != nil || t.endpoint == unknown || name == "" {
		t.endpoint = unknown
		return t, &oci.Error{Code: oci.Unsupported, Message: "not supported by this mirror, which serves manifests, blobs, tags/list and referrers", Err: errNoEndpoint}
	}
	t.name, t.reference = name, reference
	return t, nil
}

func endpointOf(word string) endpoint {
	switch word {
	case "manifests":
		return manifests
	case "blobs":
		return blobs
	case "referrers":
		return referrers
	}
	return unknown
}

// cutLast splits path at its last slash.
func cutLast(path string) (before, last string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// operation names the operation for the log and the metrics.
func (t target) operation(method string) string {
	switch {
	case t.endpoint == ping:
		return "ping"
	case t.endpoint == unknown:
		return "other"
	case t.endpoint == tags || t.endpoint == referrers || t.endpoint == catalog:
		return "list"
	case method == http.MethodHead:
		return "head"
	case method == http.MethodGet:
		return "get"
	}
	return "other"
}

func (t target) kindName() string {
	switch t.endpoint {
	case manifests:
		return "manifest"
	case blobs:
		return "blob"
	case tags:
		return "tags"
	case referrers:
		return "referrers"
	case catalog:
		return "catalog"
	}
	return "none"
}

// ref parses the reference of a manifest or a blob.
func (t target) ref(to route.Route) (oci.Ref, error) {
	if t.endpoint == blobs {
		return oci.ParseBlob(to.Upstream, to.Repository, t.reference)
	}
	return oci.ParseManifest(to.Upstream, to.Repository, t.reference)
}

// route finds out where a request for t goes. q has what is not in t.
func (t target) route(table route.Table, q route.Request) (route.Route, error) {
	q.Prefix, q.Name, q.NS = t.prefix, t.name, t.query["ns"]
	return table.Find(q)
}

package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

const maxHops = 10 // redirects followed

// redirects returns the policy for redirects of an upstream: https only (http when
// the upstream itself uses http), at most maxHops, and no headers to another host
// that are not meant for it. The guard decides which addresses they may lead to.
func redirects(upstream *url.URL) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) > maxHops {
			return fmt.Errorf("%w: more than %d redirects", errRedirect, maxHops)
		}
		if req.URL.Scheme != "https" && req.URL.Scheme != upstream.Scheme {
			return fmt.Errorf("%w: %s://%s does not use https", errRedirect, req.URL.Scheme, req.URL.Host)
		}
		if req.URL.Host != upstream.Host {
			// Accept is set for manifests only: some registries redirect them, and
			// would convert them without it.
			req.Header = onlyHeaders(req.Header, "Range", "User-Agent", "Accept-Encoding", "Accept")
		}
		if OperationOf(req) == ListOperation && req.URL.RawQuery == "" {
			// registry.k8s.io drops it, and every page would be the first one.
			req.URL.RawQuery = via[0].URL.RawQuery
		}
		return nil
	}
}

// errRedirect says that a redirect is not followed.
var errRedirect = errors.New("the upstream's redirect was not followed")

func onlyHeaders(h http.Header, names ...string) http.Header {
	passed := make(http.Header, len(names))
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			passed[name] = values
		}
	}
	return passed
}

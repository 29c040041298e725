package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

const maxHops = 10 // redirects followed

// redirects returns the rule for redirects of an upstream: https only (http
// when the upstream itself is http), at most maxHops, and to another host
// nothing that is not for it. Where they may lead is the guard's.
func redirects(upstream *url.URL) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) > maxHops {
			return fmt.Errorf("%w: more than %d redirects", errRedirect, maxHops)
		}
		if req.URL.Scheme != "https" && req.URL.Scheme != upstream.Scheme {
			return fmt.Errorf("%w: %s://%s does not use https", errRedirect, req.URL.Scheme, req.URL.Host)
		}
		if req.URL.Host != upstream.Host {
			// Accept is asked for with manifests only: some registries
			// redirect them, and without it they would be translated.
			req.Header = onlyHeaders(req.Header, "Range", "User-Agent", "Accept-Encoding", "Accept")
		}
		return nil
	}
}

// errRedirect says that a redirect is not followed.
var errRedirect = errors.New("the upstream's redirect was not followed")

func onlyHeaders(h http.Header, names ...string) http.Header {
	kept := make(http.Header, len(names))
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			kept[name] = values
		}
	}
	return kept
}

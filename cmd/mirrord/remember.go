package main

import (
	"net/http"
	"strings"

	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
)

// remember returns an observer that remembers requests for tags, for mirrord ls and
// explain, and then calls next. The mirror asks itself for no tag.
func remember(seen *images.Seen, next func(*http.Request, proxy.Event)) func(*http.Request, proxy.Event) {
	return func(r *http.Request, e proxy.Event) {
		if e.Kind == oci.Manifest.String() && e.Reference != "" && !strings.Contains(e.Reference, ":") {
			seen.Note(images.Request{Upstream: e.Upstream, Repository: e.Repository, Tag: e.Reference, Via: e.Via, Err: e.Err})
		}
		next(r, e)
	}
}

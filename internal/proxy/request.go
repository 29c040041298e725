package proxy

import (
	"net/http"
	"strings"

	"mirrord/internal/oci"
)

// withDemands returns r with what its headers say to the layers below: which mirrors it
// has passed through, and whether its client wants what the upstream has now. It fails
// with oci.ErrLoop when it has passed through this mirror.
func (h *Handler) withDemands(r *http.Request) (*http.Request, error) {
	ctx := r.Context()
	if via := r.Header["Via"]; len(via) > 0 {
		hops, err := oci.ParseVia(via, h.options.ID)
		if err != nil {
			return r, err
		}
		ctx = oci.WithHops(ctx, hops)
	}
	if wantsCurrent(r.Header["Cache-Control"]) {
		ctx = oci.WithNoCache(ctx)
	}
	if ctx == r.Context() {
		return r, nil
	}
	return r.WithContext(ctx), nil
}

// wantsCurrent reports whether one of the directives of Cache-Control demands that the
// upstream is asked: RFC 9111, section 5.2.1.
func wantsCurrent(values []string) bool {
	for _, value := range values {
		for directive := range strings.SplitSeq(value, ",") {
			directive = strings.TrimSpace(directive)
			if strings.EqualFold(directive, "no-cache") || strings.EqualFold(directive, "max-age=0") {
				return true
			}
		}
	}
	return false
}

package proxy

import (
	"io"
	"net"
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

// checkBody refuses a request with a body: it has no meaning for GET and HEAD, and what
// one server takes for a body another takes for the next request (RFC 9110, section
// 9.3.1). A body that turns out to be empty is as good as none.
func checkBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	if n, err := r.Body.Read(make([]byte, 1)); n == 0 && err == io.EOF {
		return nil
	}
	return invalidParameter("a " + r.Method + " has no body here")
}

// absoluteHost returns the host of a target in absolute form, with which clients ask a
// forward proxy, unless that is the address at which they have connected.
func absoluteHost(r *http.Request) string {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if ok && strings.EqualFold(r.URL.Host, local.String()) {
		return ""
	}
	return r.URL.Host
}

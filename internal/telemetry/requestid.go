package telemetry

import (
	"crypto/rand"
	"net/http"
	"strings"

	"mirrord/internal/oci"
)

const (
	requestIDHeader = "X-Request-Id"
	maxRequestID    = 128 // bytes
)

// RequestIDs returns a handler that gives each request an id, which the response has
// too: the one in X-Request-Id if it is fit for a log, else a new one.
func RequestIDs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids := r.Header[requestIDHeader]
		if len(ids) != 1 || !isRequestID(ids[0]) {
			ids = []string{strings.ToLower(rand.Text())}
			r.Header[requestIDHeader] = ids
		}
		w.Header()[requestIDHeader] = ids[:1:1]
		next.ServeHTTP(w, r)
	})
}

// requestID returns the id of a request that RequestIDs has let through, empty for others.
func requestID(r *http.Request) string {
	if id := r.Header.Get(requestIDHeader); isRequestID(id) {
		return id
	}
	return ""
}

// isRequestID reports whether an id has the form of those that proxies make: a UUID, hex
// or base64.
func isRequestID(id string) bool {
	return id != "" && len(id) <= maxRequestID && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-_.:=+/", c)
	})
}

// traceID returns the trace that a request is exported in, or else the one that a client says its request belongs to, by the W3C's
// traceparent; empty when there is none or it is not valid.
func traceID(r *http.Request) string {
	if t := oci.TraceOf(r.Context()); t != nil && t.SampledID() != "" {
		return t.SampledID()
	}
	const length = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	parents := r.Header["Traceparent"]
	if len(parents) != 1 || len(parents[0]) != length {
		return ""
	}
	parts := strings.Split(parents[0], "-")
	if len(parts) != 4 || parts[0] != "00" || !isHex(parts[1], 32) || !isHex(parts[2], 16) || !isHex(parts[3], 2) {
		return ""
	}
	return parts[1]
}

// isHex reports whether s is a number of that many digits; of an id, zero means none.
func isHex(s string, digits int) bool {
	if strings.ContainsFunc(s, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') }) {
		return false
	}
	return len(s) == digits && (digits == 2 || strings.Trim(s, "0") != "")
}

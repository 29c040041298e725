package oci

import "context"

type noCacheKey struct{}

// WithNoCache returns a context for a client that wants what a tag names at its
// upstream now: Cache-Control: no-cache (RFC 9111, section 5.2.1.4).
func WithNoCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCacheKey{}, true)
}

// NoCache reports whether WithNoCache has made ctx.
func NoCache(ctx context.Context) bool {
	demanded, _ := ctx.Value(noCacheKey{}).(bool)
	return demanded
}

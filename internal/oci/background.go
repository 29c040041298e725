package oci

import "context"

type backgroundKey struct{}

// WithBackground returns a context for work that no client waits for, such as warming
// the cache: it comes after what clients want, and leaves them the reserved pulls.
func WithBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// IsBackground reports whether WithBackground has made ctx.
func IsBackground(ctx context.Context) bool {
	background, _ := ctx.Value(backgroundKey{}).(bool)
	return background
}

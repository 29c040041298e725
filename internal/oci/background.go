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

type noReserveKey struct{}

// WithoutReserve returns a context for a request whose pull is better saved when the
// upstream has few left: of a newer version of what is cached.
func WithoutReserve(ctx context.Context) context.Context {
	return context.WithValue(ctx, noReserveKey{}, true)
}

// MayUseReserve reports whether the request of ctx may spend the pulls that are reserved
// for images that were never pulled: it is neither of WithoutReserve nor in the background.
func MayUseReserve(ctx context.Context) bool {
	without, _ := ctx.Value(noReserveKey{}).(bool)
	return !without && !IsBackground(ctx)
}

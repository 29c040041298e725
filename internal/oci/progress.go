package oci

import "context"

type progressKey struct{}

// WithProgress asks a Registry to call report whenever its upstream makes
// progress: a connection is established, a response begins, bytes of a manifest
// arrive. This tells a slow upstream from one that hangs. report may be called
// concurrently, also for a moment after the call that was given the context has
// returned; it must not block.
func WithProgress(ctx context.Context, report func()) context.Context {
	return context.WithValue(ctx, progressKey{}, report)
}

// Progress returns the function that WithProgress has set, or nil.
func Progress(ctx context.Context) func() {
	report, _ := ctx.Value(progressKey{}).(func())
	return report
}

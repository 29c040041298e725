package oci

import "context"

type progressKey struct{}

// WithProgress asks a Registry to call told whenever its upstream shows that it
// is at work: a connection has come about, an answer has begun, bytes of a
// manifest have come. So a distant upstream can be told from one that hangs. told may be called from several goroutines, also for a moment
// after the call that was given the context has returned; it must not block.
func WithProgress(ctx context.Context, told func()) context.Context {
	return context.WithValue(ctx, progressKey{}, told)
}

// Progress returns what WithProgress has set, or nil.
func Progress(ctx context.Context) func() {
	told, _ := ctx.Value(progressKey{}).(func())
	return told
}

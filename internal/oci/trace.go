package oci

import "context"

// Trace is what a request, or work on behalf of requests, is traced as. Implementations
// are those of what traces.
type Trace interface {
	// SampledID returns the id of the trace in hexadecimal, empty when the trace is not
	// exported.
	SampledID() string
}

type traceKey struct{}

// WithTrace returns a context for what is traced as part of t; nil is none.
func WithTrace(ctx context.Context, t Trace) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns what WithTrace has set, or nil.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

// Inherit returns ctx, which is that of work for all who want its result, with what it
// takes over from the request that starts it: the mirrors that has passed through, its
// trace, and whether it may use the reserve.
func Inherit(ctx, request context.Context) context.Context {
	if !MayUseReserve(request) {
		ctx = WithoutReserve(ctx)
	}
	return WithTrace(WithHops(ctx, Hops(request)), TraceOf(request))
}

package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

// AddHooks adds to hooks a span for each flight. Its parent is the request that starts
// it; the span of each request that waits for it has a link to it.
func (t *Tracer) AddHooks(hooks cache.Hooks) cache.Hooks {
	if t == nil {
		return hooks
	}
	hooks.FlightBegins = func(flight, client context.Context, ref oci.Ref) context.Context {
		ctx, s := t.start(oci.WithTrace(flight, oci.TraceOf(client)), "flight")
		s.SetAttributes(
			attribute.String("mirrord.upstream", ref.Upstream()),
			attribute.String("mirrord.repository", ref.Repository()),
			attribute.String("mirrord.reference", ref.Reference()),
		)
		return ctx
	}
	hooks.FlightJoined = func(flight, client context.Context) {
		if c := spanOf(flight).SpanContext(); c.IsValid() {
			spanOf(client).AddLink(trace.Link{SpanContext: c, Attributes: []attribute.KeyValue{attribute.String("mirrord.link", "flight")}})
		}
	}
	hooks.FlightEnded = func(flight context.Context, bytes int64, err error) {
		s := spanOf(flight)
		s.SetAttributes(attribute.Int64("mirrord.bytes", bytes))
		if err != nil {
			s.SetStatus(codes.Error, err.Error())
		}
		s.End()
	}
	return hooks
}

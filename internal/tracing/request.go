package tracing

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"mirrord/internal/oci"
	"mirrord/internal/proxy"
)

// Handler returns next with a span for each request but those that skip reports. The
// parent is that of the client's traceparent, which may be wrong: it says only where the
// span is shown, and, as the sampler allows, whether.
func (t *Tracer) Handler(next http.Handler, skip func(*http.Request) bool) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		ctx := t.parents.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		_, s := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
		defer s.End()
		next.ServeHTTP(w, r.WithContext(oci.WithTrace(r.Context(), span{s})))
	})
}

// Observe describes a request in its span.
func (t *Tracer) Observe(r *http.Request, e proxy.Event) {
	if t == nil {
		return
	}
	s := spanOf(r.Context())
	if !s.IsRecording() {
		return
	}
	s.SetName(e.Operation + " " + e.Kind)
	s.SetAttributes(
		attribute.String("http.request.method", r.Method),
		attribute.Int("http.response.status_code", e.Status),
		attribute.Int64("http.response.body.size", e.Bytes),
		attribute.String("mirrord.upstream", e.Upstream),
		attribute.String("mirrord.repository", e.Repository),
		attribute.String("mirrord.reference", e.Reference),
		attribute.String("mirrord.via", string(e.Via)),
	)
	if id := r.Header.Get("X-Request-Id"); id != "" {
		s.SetAttributes(attribute.String("mirrord.request_id", id))
	}
	if e.Err != nil && (e.Cut || e.Status >= http.StatusInternalServerError) {
		s.SetStatus(codes.Error, e.Err.Error())
	}
}

// Package tracing exports spans of requests, of fills and of what is sent to upstreams,
// over OTLP, when the standard variables of OpenTelemetry ask for it.
package tracing

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"mirrord/internal/oci"
)

// flushTime is how long the last spans may take at the end.
const flushTime = 3 * time.Second

// Tracer makes spans. A nil Tracer makes none and costs nothing. Methods may be called
// concurrently.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdk.TracerProvider
	parents  propagation.TraceContext
}

// New returns a Tracer as the variables of OpenTelemetry say, or nil when they do not ask
// for traces: it is OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or
// otlp in OTEL_TRACES_EXPORTER, that does. It fails when they ask for what there is not.
// Spans wait for a collector in a bounded queue, and are dropped when it is full. failed
// is called when they cannot be sent. The caller calls Run.
func New(version string, failed func(error)) (*Tracer, error) {
	on, err := wanted()
	if !on || err != nil {
		return nil, err
	}
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx) // reads the variables, and sends nothing yet
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_*: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "mirrord"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(failed))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about)) // reads OTEL_TRACES_SAMPLER
	return &Tracer{tracer: provider.Tracer("mirrord"), provider: provider}, nil
}

// wanted reports whether the variables ask for traces.
func wanted() (bool, error) {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return false, nil
	}
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "", "otlp":
		if exporter == "" && endpoint == "" {
			return false, nil
		}
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: there is no exporter %q; write otlp or none", exporter)
	}
	switch protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")); protocol {
	case "", "http/protobuf":
		return true, nil
	default:
		return false, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q is not supported; write http/protobuf, and the port for it, usually 4318, in OTEL_EXPORTER_OTLP_ENDPOINT", protocol)
	}
}

// Run sends the spans that wait when ctx ends.
func (t *Tracer) Run(ctx context.Context) error {
	if t == nil {
		return nil
	}
	<-ctx.Done()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	_ = t.provider.Shutdown(flush) // failures are reported to the error handler, and stop nothing
	return nil
}

// span is a span as an oci.Trace.
type span struct{ trace.Span }

// SampledID implements oci.Trace.
func (s span) SampledID() string {
	if c := s.SpanContext(); c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}

// spanOf returns the span of ctx, one that does nothing when there is none.
func spanOf(ctx context.Context) trace.Span {
	if s, ok := oci.TraceOf(ctx).(span); ok {
		return s.Span
	}
	return trace.SpanFromContext(context.Background())
}

// start starts a span below that of ctx, and returns a context that has it.
func (t *Tracer) start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	_, s := t.tracer.Start(trace.ContextWithSpan(ctx, spanOf(ctx)), name, options...)
	return oci.WithTrace(ctx, span{s}), s
}

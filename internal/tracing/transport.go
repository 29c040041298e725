package tracing

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"mirrord/internal/oci"
	"mirrord/internal/upstream"
)

// Transport returns next with a span for each request to the upstream name that is sent
// on behalf of a traced request: each hop of a redirect, each retry and each resumption
// has its own, which ends with the body. Of the URL it has the host alone, because the
// rest may be signed. Upstreams are not told of the trace.
func (t *Tracer) Transport(name string, next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &transport{tracer: t, upstream: name, next: next}
}

type transport struct {
	tracer   *Tracer
	upstream string
	next     http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if oci.TraceOf(req.Context()) == nil { // a probe
		return t.next.RoundTrip(req)
	}
	ctx, s := t.tracer.start(req.Context(), "upstream "+string(upstream.OperationOf(req)), trace.WithSpanKind(trace.SpanKindClient))
	s.SetAttributes(
		attribute.String("http.request.method", req.Method),
		attribute.String("server.address", req.URL.Host),
		attribute.String("mirrord.upstream", t.upstream),
	)
	if span := req.Header.Get("Range"); span != "" {
		s.SetAttributes(attribute.String("http.request.header.range", span))
	}
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		s.SetStatus(codes.Error, "no response") // the error may have a signed URL
		s.End()
		return nil, err
	}
	s.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
	if resp.StatusCode >= http.StatusInternalServerError {
		s.SetStatus(codes.Error, http.StatusText(resp.StatusCode))
	}
	resp.Body = &body{ReadCloser: resp.Body, span: s}
	return resp, nil
}

// body ends the span of its request when it is closed. It may be closed while it is read.
type body struct {
	io.ReadCloser
	span  trace.Span
	bytes atomic.Int64
	once  sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

func (b *body) Close() error {
	b.once.Do(func() {
		b.span.SetAttributes(attribute.Int64("http.response.body.size", b.bytes.Load()))
		b.span.End()
	})
	return b.ReadCloser.Close()
}

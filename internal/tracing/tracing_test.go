package tracing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/stack"
	"mirrord/internal/tracing"
	"mirrord/test/mirrortest"
)

// receiver is an OTLP collector.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
}

func newReceiver(t *testing.T) *receiver {
	c := new(receiver)
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// named returns the spans whose name begins with prefix.
func (c *receiver) named(prefix string) (all []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if strings.HasPrefix(s.Name, prefix) {
			all = append(all, s)
		}
	}
	return all
}

func attributes(s *otlp.Span) map[string]string {
	all := make(map[string]string)
	for _, a := range s.Attributes {
		all[a.Key] = fmt.Sprint(a.Value.GetStringValue(), a.Value.GetIntValue())
	}
	return all
}

// newTracer returns a tracer, and what ends it after the last span is sent.
func newTracer(t *testing.T) (*tracing.Tracer, func()) {
	tracer, err := tracing.New("1", func(err error) { t.Error(err) })
	if err != nil || tracer == nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	return tracer, func() {
		cancel()
		if err := tracer.Run(ctx); err != nil {
			t.Error(err)
		}
	}
}

// Two clients of one flight: the span of each request has a link to that of the flight,
// below which are the requests to the upstream, without what signs their URLs.
func TestTree(t *testing.T) {
	c := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	tracer, flush := newTracer(t)
	hub, err := hubsim.Start(hubsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	blob := bytes.Repeat([]byte("layer"), 1<<16)
	digest := hub.AddBlob("library/a", blob)
	network := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(network.CloseIdleConnections)
	var mirror *stack.Stack
	joined := roundTripper(func(r *http.Request) (*http.Response, error) { // the second client comes while the first one fills
		for strings.Contains(r.URL.Path, "/blobs/") && mirror.Cache.Stats().Joined == 0 {
			runtime.Gosched()
		}
		return network.RoundTrip(r)
	})
	o := mirrortest.Options(t, t.TempDir(), 1<<30, mirrortest.Upstream(t, "docker.io", hub.URL(), tracer.Transport("docker.io", joined), 0))
	o.Cache.Hooks = tracer.AddHooks(o.Cache.Hooks)
	var stop func()
	mirror, stop = mirrortest.Run(t, o)
	handler := tracer.Handler(proxy.New(proxy.Options{
		Registry: mirror.Registry, Routes: route.NewTable(route.Upstream{Name: "docker.io"}), Observe: tracer.Observe,
	}), func(*http.Request) bool { return false })

	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			r, w := httptest.NewRequest(http.MethodGet, "/v2/library/a/blobs/"+digest.String(), nil), httptest.NewRecorder()
			r.Header.Set("traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
			if handler.ServeHTTP(w, r); !bytes.Equal(w.Body.Bytes(), blob) {
				t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
			}
		})
	}
	clients.Wait()
	stop()
	flush()

	flights, requests := c.named("flight"), c.named("get blob")
	if len(flights) != 1 || len(requests) != 2 {
		t.Fatalf("%d flights, %d requests, want 1 and 2", len(flights), len(requests))
	}
	linked := 0
	for _, s := range requests {
		a := attributes(s)
		if fmt.Sprintf("%x", s.TraceId) != trace || a["mirrord.upstream"] != "docker.io0" || a["http.response.status_code"] != "200" || a["http.response.body.size"] != fmt.Sprint(len(blob)) {
			t.Errorf("trace %x, %v", s.TraceId, a)
		}
		if a["mirrord.via"] == "fill0" && len(s.Links) == 1 && bytes.Equal(s.Links[0].SpanId, flights[0].SpanId) {
			linked++
		}
	}
	if linked != 2 || attributes(flights[0])["mirrord.bytes"] != fmt.Sprint(len(blob)) {
		t.Errorf("%d requests with a link; flight %v", linked, attributes(flights[0]))
	}
	below := 0
	for _, s := range c.named("upstream blob_get") {
		if bytes.Equal(s.ParentSpanId, flights[0].SpanId) {
			below++
		}
	}
	if below == 0 {
		t.Error("no request to the upstream below the flight")
	}
	for _, s := range c.named("") {
		if text := fmt.Sprint(s.Name, attributes(s), s.Status.GetMessage()); strings.ContainsAny(text, "?@") || strings.Contains(text, "Bearer") {
			t.Errorf("a query or a credential is exported: %s", text)
		}
	}
}

// Without the variables there is no tracer, and nothing is in the way of a request.
func TestOff(t *testing.T) {
	for _, disabled := range []string{"", "true"} {
		t.Setenv("OTEL_SDK_DISABLED", disabled)
		if disabled != "" {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
		}
		tracer, err := tracing.New("1", nil)
		if err != nil || tracer != nil {
			t.Fatalf("%v, %v", tracer, err)
		}
		handler, r := http.NotFoundHandler(), httptest.NewRequest(http.MethodGet, "/v2/", nil)
		if fmt.Sprint(tracer.Handler(handler, nil)) != fmt.Sprint(handler) || tracer.Transport("a", http.DefaultTransport) != http.DefaultTransport {
			t.Error("a decorator without a tracer")
		}
		if n := testing.AllocsPerRun(100, func() { tracer.Observe(r, proxy.Event{}); oci.TraceOf(r.Context()) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		if hooks := tracer.AddHooks(mirrortest.Options(t, t.TempDir(), 1).Cache.Hooks); hooks.FlightBegins != nil || hooks.FlightJoined != nil || hooks.FlightEnded != nil {
			t.Error("hooks without a tracer")
		}
	}
}

// What there is not is refused, with what to write.
func TestRefused(t *testing.T) {
	for variable, value := range map[string]string{"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(variable, value)
			if _, err := tracing.New("1", nil); err == nil || !strings.Contains(err.Error(), "write ") {
				t.Error(err)
			}
		})
	}
}

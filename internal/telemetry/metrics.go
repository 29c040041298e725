// Package telemetry exports metrics and writes logs, by decorators, hooks and
// collectors around the other packages.
package telemetry

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mirrord/internal/access"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
)

// Metrics holds the metrics of the mirror. Values of labels come only from the code
// and the configuration, so their number is bounded: they are never a repository, a
// tag or the address of a client. Methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec

	upstreamRequests *prometheus.CounterVec
	upstreamDuration *prometheus.HistogramVec
	upstreamBytes    *prometheus.CounterVec
	upstreamResumes  *prometheus.CounterVec

	refusals     *prometheus.CounterVec
	failedLogins *prometheus.CounterVec
	limited      *prometheus.CounterVec
	waited       *prometheus.CounterVec

	damaged     prometheus.Counter
	indexErrors prometheus.Counter
	auditLost   prometheus.Counter

	bucket *countedBucket // nil: there is none
}

// durationBuckets range from a hit in memory to a layer over a slow link.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// NewMetrics returns Metrics with their own registry, which includes the metrics of
// the process.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mirrord_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "mirrord_" + name, Help: help, Buckets: durationBuckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.requests = counter("requests_total", "Requests from clients, by result; status is cut when the response was cut short, and 5xx when the content was temporarily unavailable, whatever status the client got.", "upstream", "operation", "kind", "via", "status")
	m.duration = histogram("request_duration_seconds", "Time from a client's request to the end of the response.", "operation", "kind")
	m.bytes = counter("response_bytes_total", "Bytes of response bodies sent to clients.", "upstream", "kind", "via")
	m.upstreamRequests = counter("upstream_requests_total", "Requests to the upstream, each hop of a redirect counted; status is 429 when the upstream limits, error when there was no response.", "upstream", "operation", "status")
	m.upstreamDuration = histogram("upstream_request_duration_seconds", "Time from a request to the upstream to the header of its response.", "upstream", "operation")
	m.upstreamBytes = counter("upstream_received_bytes_total", "Bytes of response bodies received from the upstream.", "upstream", "operation")
	m.upstreamResumes = counter("upstream_body_resumes_total", "Downloads that broke off and were resumed where they stopped.", "upstream")
	m.refusals = counter("access_refused_total", "Requests that a rule of access.rules, or access.private, refuses; with dry_run true they are served nevertheless.", "rule", "dry_run")
	m.limited = counter("clients_refused_total", "Requests and connections refused because their client was at a limit.", "limit")
	m.waited = counter("clients_waited_seconds_total", "Time that requests and responses waited because their client was at a limit.", "limit")
	m.damaged = counter("cache_damaged_total", "Cached blobs found damaged or missing, and dropped.").WithLabelValues()
	m.indexErrors = counter("index_errors_total", "Reads and writes of index records that failed.").WithLabelValues()
	m.auditLost = counter("audit_lost_total", "Lines of the audit log that could not be written.").WithLabelValues()
	m.failedLogins = counter("failed_logins_total", "Logins of clients with a wrong password or token, by the method that was tried.", "method")
	m.startAtZero()
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version),
	)
	return m
}

// startAtZero exports counters before their first event, because a rate needs the
// zero: without it the alerts miss whatever was counted before the first scrape.
func (m *Metrics) startAtZero() {
	for _, limit := range limitSettings {
		m.limited.WithLabelValues(limit)
	}
	m.limited.WithLabelValues(connectionLimit)
	for _, method := range []access.Method{access.Htpasswd, access.Tokens, access.JWT} {
		m.failedLogins.WithLabelValues(string(method))
	}
}

// WatchFailures exports the failed requests for content of the upstream name before
// the first one.
func (m *Metrics) WatchFailures(name string) {
	for _, operation := range []string{"get", "head"} {
		for _, kind := range []oci.Kind{oci.Manifest, oci.Blob} {
			m.requests.WithLabelValues(name, operation, kind.String(), "none", "5xx")
		}
	}
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "mirrord_build_info",
		Help:        "1, labelled with the versions of mirrord and Go.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	}, func() float64 { return 1 })
}

// Handler serves the metrics to a scraper, in the OpenMetrics format if it is wanted for
// its exemplars and the scraper accepts it.
func (m *Metrics) Handler(exemplars bool) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: exemplars})
}

// Gatherer returns the source for an exporter.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Observe counts a request of a client.
func (m *Metrics) Observe(r *http.Request, e proxy.Event) {
	via := string(e.Via)
	if via == "" {
		via = "none"
	}
	status := statusClass(e.Status)
	switch {
	case e.Cut:
		status = "cut"
	case failed(r, e): // some clients get 404 or 403 for it, after which they do not retry
		status = "5xx"
	}
	m.requests.WithLabelValues(e.Upstream, e.Operation, e.Kind, via, status).Inc()
	observeTraced(r.Context(), m.duration.WithLabelValues(e.Operation, e.Kind), e.Duration)
	m.bytes.WithLabelValues(e.Upstream, e.Kind, via).Add(float64(e.Bytes))
	m.observeLimit(e.Err)
}

// observeTraced observes a duration, with the trace of ctx as an exemplar if there is one.
func observeTraced(ctx context.Context, histogram prometheus.Observer, d time.Duration) {
	if trace := oci.TraceOf(ctx); trace != nil {
		if id := trace.SampledID(); id != "" {
			histogram.(prometheus.ExemplarObserver).ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": id})
			return
		}
	}
	histogram.Observe(d.Seconds())
}

// failed reports whether content that may exist was temporarily unavailable to a
// client that is still connected.
func failed(r *http.Request, e proxy.Event) bool {
	return oci.Temporary(e.Err) && r.Context().Err() == nil
}

// statusClass returns 2xx for 200, and so on.
func statusClass(status int) string {
	switch status / 100 {
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "other"
}

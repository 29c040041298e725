// Package telemetry watches the mirror from its rim: metrics, logs and the
// decorators that feed them.
package telemetry

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"mirrord/internal/oci"
	"mirrord/internal/proxy"
)

// Metrics counts what happens. Its labels take their values from the code
// alone: no repository, tag or address is ever one.
type Metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec

	upstreamRequests *prometheus.CounterVec
	upstreamDuration *prometheus.HistogramVec
	upstreamBytes    *prometheus.CounterVec
	upstreamResumes  *prometheus.CounterVec

	damaged     prometheus.Counter
	indexErrors prometheus.Counter
}

// durationBuckets span a hit from memory and a layer through a slow line.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// NewMetrics returns Metrics with a registry of their own, the process's
// figures among them.
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
	m.damaged = counter("cache_damaged_total", "Cached blobs found damaged or missing, and dropped.").WithLabelValues()
	m.indexErrors = counter("index_errors_total", "Reads and writes of index records that failed.").WithLabelValues()
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version),
	)
	return m
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "mirrord_build_info",
		Help:        "1, labelled with the versions of mirrord and Go.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	}, func() float64 { return 1 })
}

// Gatherer is what an exporter reads.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Observe counts a client's request.
func (m *Metrics) Observe(r *http.Request, e proxy.Event) {
	via := string(e.Via)
	if via == "" {
		via = "none"
	}
	status := statusClass(e.Status)
	switch {
	case e.Cut:
		status = "cut"
	case refused(r, e): // some clients get 404 or 403 for it, which they do not repeat
		status = "5xx"
	}
	m.requests.WithLabelValues(e.Upstream, e.Operation, e.Kind, via, status).Inc()
	m.duration.WithLabelValues(e.Operation, e.Kind).Observe(e.Duration.Seconds())
	m.bytes.WithLabelValues(e.Upstream, e.Kind, via).Add(float64(e.Bytes))
}

// refused reports whether a client that is still there did not get what may exist.
func refused(r *http.Request, e proxy.Event) bool {
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

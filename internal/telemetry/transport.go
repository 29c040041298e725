package telemetry

import (
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/upstream"
)

// Transport returns a transport that counts the requests to the upstream name, and
// the bytes of their responses, and sends them through next.
func (m *Metrics) Transport(name string, next http.RoundTripper) http.RoundTripper {
	return &transport{metrics: m, upstream: name, next: next}
}

// Resumed returns a hook that counts resumed downloads of the upstream name.
func (m *Metrics) Resumed(name string) func() {
	return m.upstreamResumes.WithLabelValues(name).Inc
}

// WatchHosts exports the number of failing hosts of the upstream name. failing is
// called at each scrape, possibly concurrently.
func (m *Metrics) WatchHosts(name string, failing func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "mirrord_upstream_hosts_failing",
		Help:        "Hosts of the upstream that have failed repeatedly and are sent only probes.",
		ConstLabels: prometheus.Labels{"upstream": name},
	}, func() float64 { return float64(failing()) }))
}

type transport struct {
	metrics  *Metrics
	upstream string
	next     http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	operation := string(upstream.OperationOf(req))
	begun := time.Now()
	resp, err := t.next.RoundTrip(req)
	observeTraced(req.Context(), t.metrics.upstreamDuration.WithLabelValues(t.upstream, operation), time.Since(begun))
	if err != nil {
		t.metrics.upstreamRequests.WithLabelValues(t.upstream, operation, "error").Inc()
		return nil, err
	}
	status := statusClass(resp.StatusCode)
	if resp.StatusCode == http.StatusTooManyRequests {
		status = "429"
	}
	t.metrics.upstreamRequests.WithLabelValues(t.upstream, operation, status).Inc()
	resp.Body = &counted{resp.Body, t.metrics.upstreamBytes.WithLabelValues(t.upstream, operation)}
	return resp, nil
}

// counted counts the bytes of a body as they are read.
type counted struct {
	io.ReadCloser
	bytes prometheus.Counter
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(float64(n))
	return n, err
}

package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Validity is that of the certificate of a listener.
type Validity struct {
	Listen      string // the address of the listener, as configured
	From, Until time.Time
}

var (
	certificateExpiry   = prometheus.NewDesc("mirrord_certificate_expiry_timestamp_seconds", "When the certificate of the listener expires.", []string{"listen"}, nil)
	certificateLifetime = prometheus.NewDesc("mirrord_certificate_lifetime_seconds", "For how long the certificate of the listener is valid altogether.", []string{"listen"}, nil)
)

// WatchCertificates exports when the certificates of listeners expire. certificates is
// called at each scrape, and leaves out listeners without one.
func (m *Metrics) WatchCertificates(certificates func() []Validity) {
	m.registry.MustRegister(certificateCollector(certificates))
}

type certificateCollector func() []Validity

// Describe implements prometheus.Collector.
func (c certificateCollector) Describe(out chan<- *prometheus.Desc) {
	out <- certificateExpiry
	out <- certificateLifetime
}

// Collect implements prometheus.Collector.
func (c certificateCollector) Collect(out chan<- prometheus.Metric) {
	first := make(map[string]Validity) // listeners whose port the system chooses have one address
	for _, v := range c() {
		if f, ok := first[v.Listen]; !ok || v.Until.Before(f.Until) {
			first[v.Listen] = v
		}
	}
	for listen, v := range first {
		out <- prometheus.MustNewConstMetric(certificateExpiry, prometheus.GaugeValue, float64(v.Until.Unix()), listen)
		out <- prometheus.MustNewConstMetric(certificateLifetime, prometheus.GaugeValue, v.Until.Sub(v.From).Seconds(), listen)
	}
}

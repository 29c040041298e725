package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mirrord/internal/fleet/sibling"
	"mirrord/internal/oci"
)

// SiblingOptions returns o with what other mirrors read counted, and what is refused
// logged, once a minute.
func SiblingOptions(log *zap.Logger, m *Metrics, o sibling.HandlerOptions) sibling.HandlerOptions {
	served := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mirrord_fleet_sibling_bytes_total", Help: "Bytes that other mirrors of the fleet read from this one.",
	})
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mirrord_fleet_sibling_refused_total", Help: "Requests to fleet.listen that were not signed by a mirror of the fleet for this process.",
	})
	m.registry.MustRegister(served, refused)
	lines := rate.Sometimes{Interval: time.Minute}
	o.Served = func(_ string, _ oci.Digest, bytes int64) { served.Add(float64(bytes)) }
	o.Refused = func(remote string, err error) {
		refused.Inc()
		lines.Do(func() {
			log.Warn("refused a request to fleet.listen", zap.String("remote", remote), zap.Error(err))
		})
	}
	return o
}

// WatchSiblings exports how many streams other mirrors read now.
func (m *Metrics) WatchSiblings(streams func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mirrord_fleet_sibling_streams", Help: "Streams that other mirrors of the fleet read from this one now.",
	}, func() float64 { return float64(streams()) }))
}

package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
	"mirrord/internal/proxy"
)

// limitSettings are the settings of the limits that clients are held to; that of
// failed logins has none.
var limitSettings = map[oci.LimitKind]string{
	oci.LimitInFlight: "max_requests",
	oci.LimitRate:     "requests_per_second",
	oci.LimitClient:   "per_client",
	oci.LimitLogins:   "logins",
}

// connectionLimit is the setting of the limit that no request meets.
const connectionLimit = "max_connections"

// observeLimit counts a request that a limit of its client has ended.
func (m *Metrics) observeLimit(err error) {
	var limit *oci.LimitError
	if !errors.As(err, &limit) {
		return
	}
	if setting, ok := limitSettings[limit.Kind]; ok {
		m.limited.WithLabelValues(setting).Inc()
	}
}

// ConnectionRefused returns an observer that counts connections that were closed
// because their client has too many, and logs one of them a minute.
func ConnectionRefused(log *zap.Logger, m *Metrics) func(oci.ClientKey) {
	refused := m.limited.WithLabelValues(connectionLimit)
	lines := rate.Sometimes{Interval: time.Minute}
	return func(client oci.ClientKey) {
		refused.Inc()
		lines.Do(func() {
			log.Warn("connection closed: its client has as many as clients.max_connections allows; raise that if it is legitimate, such as a proxy or a NAT",
				zap.Stringer("client", client))
		})
	}
}

// ExportFailed returns an observer that logs one failure a minute to export traces.
func ExportFailed(log *zap.Logger) func(error) {
	lines := rate.Sometimes{Interval: time.Minute}
	return func(err error) {
		lines.Do(func() {
			log.Warn("traces cannot be exported; check OTEL_EXPORTER_OTLP_ENDPOINT and the collector there", zap.Error(err))
		})
	}
}

// Limiter returns next, and counts how long it lets requests wait.
func (m *Metrics) Limiter(next proxy.Limiter) proxy.Limiter {
	return waitingLimiter{next, m.waited.WithLabelValues("requests_per_second")}
}

type waitingLimiter struct {
	proxy.Limiter
	waited prometheus.Counter
}

// Enter implements proxy.Limiter.
func (l waitingLimiter) Enter(ctx context.Context) error {
	begun := time.Now()
	err := l.Limiter.Enter(ctx)
	l.waited.Add(time.Since(begun).Seconds())
	return err
}

// Pacer returns next, and counts how long it lets responses wait.
func (m *Metrics) Pacer(next proxy.Pacer) proxy.Pacer {
	return waitingPacer{next, m.waited.WithLabelValues("bandwidth")}
}

type waitingPacer struct {
	proxy.Pacer
	waited prometheus.Counter
}

// Wait implements proxy.Pacer.
func (p waitingPacer) Wait(ctx context.Context, n int) error {
	begun := time.Now()
	err := p.Pacer.Wait(ctx, n)
	p.waited.Add(time.Since(begun).Seconds())
	return err
}

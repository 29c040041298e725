package main

import (
	"net"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/server"
	"mirrord/internal/telemetry"
)

// limiter returns what limits the requests of each client.
func limiter(cfg *config.Config, metrics *telemetry.Metrics) proxy.Limiter {
	inFlight := ratelimit.NewInFlight(cfg.Clients.MaxRequests)
	if cfg.Clients.RequestsPerSecond == 0 {
		return inFlight
	}
	return metrics.Limiter(ratelimit.NewPace(cfg.Clients.RequestsPerSecond, inFlight))
}

// pacer returns what limits how fast clients are sent to, nil when nothing does: then
// the body of a response is written as it is.
func pacer(cfg *config.Config, metrics *telemetry.Metrics) proxy.Pacer {
	each, total := int64(cfg.Clients.Bandwidth), int64(cfg.Clients.TotalBandwidth)
	if each == 0 && total == 0 {
		return nil
	}
	return metrics.Pacer(ratelimit.NewLine(each, total))
}

// limitConnections returns what limits the connections of a client, over all listeners
// together. A trusted proxy has those of many.
func limitConnections(cfg *config.Config, log *zap.Logger, metrics *telemetry.Metrics) func(net.Listener) net.Listener {
	if cfg.Clients.MaxConnections == 0 {
		return func(l net.Listener) net.Listener { return l }
	}
	limit := ratelimit.NewConnections(cfg.Clients.MaxConnections, networks(cfg.Clients.TrustedProxies), telemetry.ConnectionRefused(log, metrics))
	return func(l net.Listener) net.Listener { return server.LimitConnections(l, limit) }
}

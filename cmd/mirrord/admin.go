package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mirrord/internal/cache"
	"mirrord/internal/health"
	"mirrord/internal/telemetry"
)

// admin serves those who run the mirror: metrics, health, profiles. It is not
// for clients and listens elsewhere.
type admin struct {
	metrics  *telemetry.Metrics
	draining *atomic.Bool
	budgets  func(context.Context) []budget
	cache    *cache.Cache
	health   *health.Monitor
	dir      string // of the cache
	listen   string // admin.listen

	verifying sync.Mutex // held while the cache is verified: once at a time
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.Gatherer(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", a.serveReadiness)
	mux.HandleFunc("GET /quota", serveBudgets(a.budgets))
	mux.HandleFunc("GET /verify", a.serveDirectory)
	mux.HandleFunc("POST /verify", a.serveVerify)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return guard(mux, a.listen)
}

// serveReadiness says whether clients are served. They are without a disk or an
// index, too; what is missing is told.
func (a *admin) serveReadiness(w http.ResponseWriter, _ *http.Request) {
	if a.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	degraded := a.health.Degraded()
	if len(degraded) == 0 {
		_, _ = io.WriteString(w, "ready\n")
		return
	}
	_, _ = io.WriteString(w, "ready, degraded\n")
	for _, t := range slices.Sorted(maps.Keys(degraded)) {
		_, _ = fmt.Fprintf(w, "%s: %v\n", t, degraded[t])
	}
}

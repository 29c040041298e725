// Package admin is the admin API: metrics, health, budgets, verification and
// profiles for those who run the mirror. It has the server, the client that the
// commands use, and the types of the wire.
package admin

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"mirrord/internal/archive"
	"mirrord/internal/cache"
	"mirrord/internal/doctor"
	"mirrord/internal/health"
	"mirrord/internal/images"
	"mirrord/internal/notify"
	"mirrord/internal/retention"
	"mirrord/internal/status"
	"mirrord/internal/status/page"
	"mirrord/internal/tags"
	"mirrord/internal/upstream"
	"mirrord/internal/warm"
)

// Options of an API.
type Options struct {
	Metrics   http.Handler
	Cache     *cache.Cache
	Health    *health.Monitor
	Pools     func() []*upstream.Pool // now
	Warmer    *warm.Warmer
	WarmLists *warm.Scheduler
	Images    *images.Images
	Dir       string // of the cache
	Listen    string // where the API is served: the host in it is a name that requests may have
	Token     Token  // for what changes the mirror's state, and for profiles

	Tags      *tags.Registry
	Retention *retention.Retention // pins, and removes by hand

	Events *notify.Notifier // whose webhooks are tested

	Archives *archive.Mirror // whose images are exported and imported

	// Doctor checks the mirror and its surroundings, and reports each check in turn. It
	// returns what clients have to know.
	Doctor func(ctx context.Context, report func(doctor.Check)) doctor.Served

	Fleet *FleetOptions // nil: the mirror is by itself

	// Acted is called after each request that may have changed something, served or not;
	// nil: nobody wants to know. It may be called concurrently.
	Acted func(Action)

	// For the status.
	Version string
	Status  *status.Recorder
	Offline func() bool
	Free    func() (int64, error) // bytes of the cache's file system
	Failing func() map[string]int // see status.Status

	// For the status page.
	Socket  string                         // the path of the unix socket beside Listen; empty: none
	Connect func(host string) page.Connect // see page.Options

	MetricsListen string // like Listen, for MetricsHandler
}

// API is the server's side. It is not for clients of the mirror and listens
// elsewhere.
type API struct {
	opts      Options
	draining  atomic.Bool
	verifying sync.Mutex // held while the cache is verified: once at a time
	examining sync.Mutex // held while the doctor checks: once at a time
	testing   sync.Mutex // held while webhooks are tested: once at a time
	sweeping  sync.Mutex // held while the fleet's bucket is cleaned up
	checks    checks
	watchers  chan struct{} // holds one for each client that watches the status
	drained   chan struct{} // closed by Drain
	drain     sync.Once
}

// New returns the API of a mirror.
func New(o Options) *API {
	return &API{opts: o, checks: checks{turn: make(chan struct{}, 1)}, watchers: make(chan struct{}, maxWatchers), drained: make(chan struct{})}
}

// Drain makes the mirror not ready from now on, and ends what is sent to those who watch
// its status.
func (a *API) Drain() {
	a.draining.Store(true)
	a.drain.Do(func() { close(a.drained) })
}

// Handler serves the API to those who run the mirror, and not to web pages.
func (a *API) Handler() http.Handler {
	mux := a.watched()
	for pattern, handle := range a.routes() {
		mux.HandleFunc(pattern, handle)
	}
	statusPage := a.page()
	for _, pattern := range page.Patterns() {
		mux.Handle(pattern, statusPage)
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return a.reportActions(guard(a.opts.Token.need(mux), a.opts.Listen))
}

// routes are what only those who run the mirror may ask. Each is in
// docs/admin-api.yaml.
func (a *API) routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /quota": respond(a.budgets),

		"GET /v1/explain":    respond(a.explain),
		"GET /v1/images":     respond(a.images),
		"GET /v1/warm/lists": respond(a.warmLists),

		"GET " + statusPath:  respond(a.status),
		"GET " + historyPath: respond(a.history),
		"GET " + livePath:    a.serveLive,

		"GET /v1/fleet":     respond(a.fleetStatus),
		"POST /v1/fleet/gc": stream(a.sweepFleet),

		"GET /v1/pins":     respond(a.pins),
		"POST /v1/pins":    respond(a.pin),
		"DELETE /v1/pins":  respond(a.unpin),
		"POST /v1/purge":   respond(a.purge),
		"POST /v1/refresh": stream(a.refresh),
		"POST /v1/gc":      stream(a.collect),

		"GET /v1/notify":       respond(a.webhooks),
		"POST /v1/notify/test": stream(a.testWebhooks),

		"POST /v1/doctor": stream(a.doctor),

		"POST /v1/export":         a.serveExport,
		"POST /v1/import":         stream(a.importDirectory),
		"POST /v1/import-archive": stream(a.importArchive),
		"POST /v1/warm":           stream(a.warm),

		"GET /verify":  a.serveDirectory,
		"POST /verify": stream(a.verify),
	}
}

// Routes returns the method and path of each route but those of profiles, sorted.
func Routes() []string {
	own := slices.Collect(maps.Keys(new(API).routes()))
	for _, pattern := range page.Patterns() {
		own = append(own, strings.TrimSuffix(pattern, "{$}"))
	}
	return slices.Sorted(slices.Values(append(own, "GET /metrics", "GET /healthz", "GET /readyz")))
}

// MetricsHandler serves only what monitoring needs, none of which changes or costs
// anything.
func (a *API) MetricsHandler() http.Handler { return guard(a.watched(), a.opts.MetricsListen) }

// watched serves metrics and health.
func (a *API) watched() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.opts.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", a.serveReadiness)
	return mux
}

// serveReadiness reports whether clients are served. They are without a disk or an
// index, too; what is degraded is listed.
func (a *API) serveReadiness(w http.ResponseWriter, _ *http.Request) {
	if a.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	degraded := a.opts.Health.Degraded()
	if len(degraded) == 0 {
		_, _ = io.WriteString(w, "ready\n")
		return
	}
	_, _ = io.WriteString(w, "ready, degraded\n")
	for _, component := range slices.Sorted(maps.Keys(degraded)) {
		_, _ = fmt.Fprintf(w, "%s: %v\n", component, degraded[component])
	}
}

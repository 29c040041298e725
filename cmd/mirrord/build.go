package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"mirrord/internal/admin"
	"mirrord/internal/archive"
	"mirrord/internal/cache"
	"mirrord/internal/config"
	"mirrord/internal/doctor"
	"mirrord/internal/images"
	"mirrord/internal/index"
	"mirrord/internal/membership"
	"mirrord/internal/notify"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/retention"
	"mirrord/internal/route"
	"mirrord/internal/server"
	"mirrord/internal/stack"
	"mirrord/internal/status"
	"mirrord/internal/status/page"
	"mirrord/internal/tags"
	"mirrord/internal/telemetry"
	"mirrord/internal/tracing"
	"mirrord/internal/warm"
)

// daemon is what runs, and what is to be closed at the end.
type daemon struct {
	cfg     *config.Config // in effect; changed by reload only
	load    func() (*config.Config, error)
	log     *zap.Logger
	level   zap.AtomicLevel
	policy  *policy
	metrics *telemetry.Metrics
	tracer  *tracing.Tracer // nil: none
	audit   *telemetry.Audit
	events  *notify.Notifier
	mirror  *stack.Stack
	images  *images.Images
	pins    *retention.Retention
	status  *status.Recorder
	warmer  *warm.Warmer
	lists   *warm.Scheduler
	fleet   *fleetOps
	disk    *doctor.Disk // of the cache
	id      string       // of this process in Via
	self    self

	doors    []door     // of the listeners, in the order of cfg.AllListeners
	handlers []*handler // of the same
	mirrors  []*server.Server
	admin    []*server.Server // that of admin.listen first
	siblings *server.Server   // nil: none
	api      *admin.API
	workers  []func(context.Context) error // each runs until its context ends
	close    func() error
}

// build is the composition of the daemon: the storage, the stack of Registries on it
// (see stack.New), the proxy on top of that, the admin API beside it, and telemetry
// around them. load reads the configuration again.
func build(cfg *config.Config, load func() (*config.Config, error), passed sockets, log *zap.Logger, level zap.AtomicLevel) (d *daemon, err error) {
	storage, err := openStorage(cfg.Cache.Dir, log)
	if err != nil {
		return nil, unusable(cfg.Cache.Dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, storage.close())
		}
	}()
	d = &daemon{cfg: cfg, load: load, log: log, level: level, policy: newPolicy(cfg), metrics: telemetry.NewMetrics(thisBuild().Version), disk: doctor.NewDisk(), id: newID(), self: newSelf(), close: storage.close}
	if err := d.openOutputs(); err != nil {
		return nil, refusal{err}
	}
	ledger := ratelimit.NewLedger(rememberedBudgets(storage.index, log))
	d.buildStatus(storage.index, ledger)
	if err := d.buildStack(storage, ledger); err != nil {
		return nil, err
	}
	d.images = images.New(images.Options{Tags: d.mirror.Tags, Cache: d.mirror.Cache, Routes: func() route.Table { return routes(cfg) }})
	if err := d.buildWarming(); err != nil {
		return nil, refusal{err}
	}
	d.buildRetention(storage.index)
	watch(d.metrics, d.mirror, d.pins, ledger)
	d.metrics.WatchDisk(storage.blobs.Free)
	if err := d.buildDoors(); err != nil {
		return nil, refusal{err}
	}
	d.metrics.WatchCertificates(d.validities)
	token, err := prepareToken(cfg, log)
	if err != nil {
		return nil, refusal{err}
	}
	listeners, err := listen(cfg, passed, log)
	if err != nil {
		return nil, refusal{err}
	}
	acted := telemetry.Acted(log, d.audit)
	d.api = admin.New(admin.Options{
		Metrics: d.metrics.Handler(d.tracer != nil), Cache: d.mirror.Cache, Health: d.mirror.Health, Pools: d.mirror.Pools, Warmer: d.warmer, WarmLists: d.lists,
		Doctor: d.examine, Images: d.images, Tags: d.mirror.Tags, Retention: d.pins, Events: d.events, Status: d.status, Version: thisBuild().Version, Offline: func() bool { return d.policy.current.Load().cfg.Offline },
		Free: storage.blobs.Free, Failing: d.failingHosts, Socket: listeners.socketPath(),
		Connect: func(host string) page.Connect { return connect(d.policy.current.Load().cfg, host) },
		Dir:     cfg.Cache.Dir, Listen: cfg.Admin.Listen, Token: token, MetricsListen: cfg.Metrics.Listen,
		Fleet:    d.fleet.adminFleet(),
		Acted:    func(a admin.Action) { acted(telemetry.Action(a)) },
		Archives: &archive.Mirror{Cache: d.mirror.Cache, Tags: d.mirror.Tags, Routes: func() route.Table { return routes(cfg) }},
	})
	budgets := &budgetWriter{ledger: ledger, pools: d.mirror.Pools, probe: d.policy.probe, write: storage.index.PutQuotas, log: log}
	d.mirrors = d.mirrorServers(listeners.mirrors)
	d.admin = adminServers(listeners, d.api.Handler(), d.api.MetricsHandler(), log)
	d.siblings = d.fleet.siblingServer(listeners.fleet)
	quotas := newQuotaWatch(d.events, ledger.Budgets, d.policy.reserve, storage.index, log)
	d.workers = append(append(renewals(d.doors), d.fleet.workers()...), d.events.Run, quotas.run, d.mirror.Run, d.pins.Run, d.lists.Run, d.status.Run, budgets.run, d.audit.Run, d.tracer.Run)
	return d, nil
}

// buildStatus makes what the status page and the status show.
func (d *daemon) buildStatus(store *index.Index, ledger *ratelimit.Ledger) {
	d.status = status.New(status.Options{
		Pulls:   func() (saved, spent int64) { return pulls(d.mirror.Cache, ledger) },
		Clients: func() bool { return d.policy.current.Load().cfg.Status.Clients },
		Store:   store,
		StoreFailed: func(err error) {
			d.log.Warn("the history of the status cannot be read or written; a restart may lose it", zap.Error(err))
		},
	})
}

// openOutputs makes ready where the daemon reports to, beside its log and its metrics.
func (d *daemon) openOutputs() (err error) {
	if d.audit, err = telemetry.OpenAudit(d.cfg.Access.AuditLog, d.log, d.metrics); err != nil {
		return fmt.Errorf("access.audit_log: %w; write a file in a directory that mirrord may write to", err)
	}
	if d.tracer, err = tracing.New(thisBuild().Version, telemetry.ExportFailed(d.log)); err != nil {
		return err
	}
	d.events, err = newEvents(d.cfg, d.log, d.metrics)
	return err
}

// buildDoors makes ready what listeners let clients in by, and what they serve.
func (d *daemon) buildDoors() error {
	for _, listener := range d.cfg.AllListeners() {
		certificates, renew, err := loadCertificates(d.cfg, listener, d.log.With(zap.String("listen", listener.Address)))
		if err != nil {
			return fmt.Errorf("listener %s: %w", listener.Address, err)
		}
		d.doors = append(d.doors, door{certificates: certificates, renew: renew})
		d.handlers = append(d.handlers, new(handler))
	}
	serve, err := d.prepare(d.cfg)
	if err != nil {
		return err
	}
	serve()
	warnOfSecrets(d.cfg, d.doors, d.log)
	warnOpen(d.cfg, d.log)
	return nil
}

// proxyOptions returns what the listeners serve. It fails when a key of a rule cannot be
// read.
func (d *daemon) proxyOptions(cfg *config.Config) (proxy.Options, error) {
	registry, err := withRules(cfg, d.mirror.Registry, telemetry.Refused(d.log, d.metrics, d.audit))
	return proxy.Options{
		Registry: registry,
		Routes:   routes(cfg),
		ID:       d.id,
		Catalog:  catalogOf(cfg, d.mirror),
		Limit:    limiter(cfg, d.metrics),
		Pace:     pacer(cfg, d.metrics),
		Observe:  record(d.status, remember(d.images.Seen, observe(d.self, d.metrics, d.tracer, telemetry.AccessLog(d.log, telemetry.AccessOptions{Which: cfg.Log.Access, Sample: cfg.Log.AccessSample})))),
	}, err
}

// catalogOf returns what the catalog lists, or nil when it is not to be served.
func catalogOf(cfg *config.Config, mirror *stack.Stack) proxy.Catalog {
	if !cfg.Clients.Catalog {
		return nil
	}
	return func(ctx context.Context) map[string][]string {
		all := mirror.Tags.Repositories()
		if mirror.Membership == nil {
			return all
		}
		for upstream, repositories := range all {
			all[upstream] = slices.DeleteFunc(repositories, func(name string) bool { return !mirror.Membership.Visible(ctx, upstream, name) })
		}
		return all
	}
}

// buildStack puts the Registries together.
func (d *daemon) buildStack(storage *storage, ledger *ratelimit.Ledger) error {
	upstreams, err := buildUpstreams(d.cfg, d.policy.reserve, d.log, d.metrics, d.tracer)
	if err != nil {
		return refusal{err}
	}
	countFetched(d.status, upstreams)
	notifyOfHosts(d.events, upstreams)
	fleet, err := newFleet(d.cfg, storage.index, d.log, d.metrics)
	if err != nil {
		return refusal{err}
	}
	if d.fleet, err = d.watchFleet(fleet); err != nil {
		return refusal{err}
	}
	d.mirror, err = stack.New(stack.Options{
		ID:        d.id,
		Upstreams: upstreams,
		Ledger:    ledger,
		PerClient: d.cfg.Quota.PerClient,
		Offline:   d.cfg.Offline,
		Health:    notifyOfHealth(d.events, telemetry.HealthHooks(d.log)),
		Fleet:     fleet,
		Cache: cache.Options{
			Store:  storage.blobs,
			Index:  storage.index,
			Parts:  storage.parts,
			Free:   storage.blobs.Free,
			Limits: cacheLimits(d.cfg),
			Hooks:  d.tracer.AddHooks(telemetry.CacheHooks(d.log, d.metrics)),
		},
		Tags: tags.Options{
			Index:  storage.index,
			Fresh:  d.policy.fresh,
			Limits: tagLimits(d.cfg),
			Hooks:  notifyOfTags(d.events, telemetry.TagHooks(d.log, d.metrics)),
		},
		Membership: &membership.Options{
			Policy: d.policy.private,
			Grants: d.policy.grants,
			Limits: stack.MembershipLimits(tagLimits(d.cfg)),
			Index:  storage.index,
			Hooks:  telemetry.MembershipHooks(d.log, d.metrics, d.audit),
		},
	})
	return err
}

func cacheLimits(cfg *config.Config) cache.Limits {
	return cache.Limits{
		MaxSize: int64(cfg.Cache.MaxSize), MinFree: int64(cfg.Cache.MinFree), MaxFills: cfg.Cache.MaxFills, Scrub: cfg.Cache.Scrub,
	}
}

// tagLimits returns when the upstreams are asked. Offline a stale copy may have any age.
func tagLimits(cfg *config.Config) tags.Limits {
	l := tags.Limits{
		FreshLists: cfg.Tags.Fresh, Revalidate: cfg.Tags.StaleWhileRevalidate, MaxStale: cfg.Tags.MaxStale, MaxSilence: cfg.Tags.MaxSilence,
	}
	if cfg.Offline {
		l.MaxStale = math.MaxInt64
	}
	return l
}

// newID returns a name for this process by which it recognizes its own requests.
func newID() string { return "mirrord-" + strings.ToLower(rand.Text()) }

// watch exports the state of the stack as metrics.
func watch(metrics *telemetry.Metrics, mirror *stack.Stack, pins *retention.Retention, ledger *ratelimit.Ledger) {
	metrics.WatchCache(func() telemetry.Snapshot {
		stats := mirror.Cache.Stats()
		for _, p := range mirror.Pools() {
			stats.Saved[p.Name()] += 0 // exported before the first one
		}
		return telemetry.Snapshot{Cache: stats, Tags: mirror.Tags.Stats(), Pins: len(pins.Pins()), Degraded: mirror.Health.Degraded()}
	})
	if mirror.Uploads != nil {
		metrics.WatchUploads(mirror.Uploads.Waiting)
	}
	if budgets := mirror.SharedBudgets; len(budgets()) > 0 {
		metrics.WatchFleetBudgets(budgets)
	}
	if mirror.SharedTags != nil {
		metrics.WatchFleetTags(mirror.SharedTags.Stats)
	}
	metrics.WatchQuota(ledger.Budgets)
	metrics.WatchLogins(func() []telemetry.Login { return logins(mirror.Pools()) })
	for i, p := range mirror.Pools() {
		metrics.WatchHosts(p.Name(), func() int { return mirror.FailingHosts(i) })
		metrics.WatchFailures(p.Name())
	}
}

// routes are the names of the upstreams; the first is the default.
func routes(cfg *config.Config) route.Table {
	var upstreams []route.Upstream
	for _, u := range cfg.Upstreams {
		upstreams = append(upstreams, route.Upstream{Name: u.Name, Aliases: u.Aliases, Hosts: u.Hosts})
	}
	return route.NewTable(upstreams...).WithForeign(config.KnownHosts()...)
}

// summary is what an operator wants to know of the daemon when it starts.
func summary(cfg *config.Config) []zap.Field {
	var upstreams, names []string
	for _, u := range cfg.Upstreams {
		upstreams = append(upstreams, u.Name+" at "+u.URL)
		for _, c := range credentials(u) {
			names = append(names, c.Name+" of "+u.Name)
		}
	}
	return []zap.Field{
		zap.String("version", thisBuild().Version),
		zap.Strings("upstreams", upstreams),
		zap.String("cache_dir", cfg.Cache.Dir),
		zap.Stringer("max_size", cfg.Cache.MaxSize),
		zap.Stringer("min_free", cfg.Cache.MinFree),
		zap.Strings("credentials", names),
	}
}

// observe counts, traces and logs a request, unless it is one of the mirror itself.
func observe(own self, metrics *telemetry.Metrics, tracer *tracing.Tracer, access func(*http.Request, proxy.Event)) func(*http.Request, proxy.Event) {
	return func(r *http.Request, e proxy.Event) {
		if own.is(r) {
			return
		}
		metrics.Observe(r, e)
		tracer.Observe(r, e)
		access(r, e)
	}
}

// rememberedBudgets are what the last process knew. Losing them is not a failure.
func rememberedBudgets(ix *index.Index, log *zap.Logger) map[string][]byte {
	quotas, err := ix.Quotas()
	if err != nil {
		log.Warn("remembered budgets cannot be read; the next responses report them again", zap.Error(err))
	}
	return quotas
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/admin"
	"mirrord/internal/cache"
	"mirrord/internal/config"
	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/route"
	"mirrord/internal/server"
	"mirrord/internal/stack"
	"mirrord/internal/tagrule"
	"mirrord/internal/tags"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// daemon is what runs, and what is to be closed at the end.
type daemon struct {
	mirrors []*server.Server // one for each listener
	admin   []*server.Server // that of admin.listen first
	api     *admin.API
	workers []func(context.Context) error // each runs until its context ends
	summary []zap.Field                   // of the configuration, for the log
	reload  func()                        // reads logins and certificates again
	close   func() error
}

// build is the composition of the daemon: the storage, the stack of Registries on it
// (see stack.New), the proxy on top of that, the admin API beside it, and telemetry
// around them.
func build(cfg *config.Config, log *zap.Logger) (d *daemon, err error) {
	storage, err := openStorage(cfg.Cache.Dir, log)
	if err != nil {
		return nil, unusable(cfg.Cache.Dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, storage.close())
		}
	}()
	metrics := telemetry.NewMetrics(thisBuild().Version)
	audit, err := telemetry.OpenAudit(cfg.Access.AuditLog, log, metrics)
	if err != nil {
		return nil, refusal{fmt.Errorf("access.audit_log: %w; write a file in a directory that mirrord may write to", err)}
	}
	ledger := ratelimit.NewLedger(rememberedBudgets(storage.index, log))
	id := newID()
	mirror, err := buildStack(cfg, id, storage, ledger, log, metrics, audit)
	if err != nil {
		return nil, err
	}
	watch(metrics, mirror, ledger)
	gate := newGate(cfg, log, metrics, audit)
	doors, err := loadDoors(cfg, gate, log)
	if err != nil {
		return nil, refusal{err}
	}
	warnOfSecrets(cfg, doors, log)
	registry, err := withRules(cfg, mirror.Registry, telemetry.Refused(log, metrics, audit))
	if err != nil {
		return nil, refusal{err}
	}
	token, err := prepareToken(cfg, log)
	if err != nil {
		return nil, refusal{err}
	}
	listeners, err := listen(cfg)
	if err != nil {
		return nil, refusal{err}
	}
	options := proxy.Options{
		Registry: registry,
		Routes:   routes(cfg),
		ID:       id,
		Catalog:  catalogOf(cfg, mirror),
		Limit:    limiter(cfg, metrics),
		Pace:     pacer(cfg, metrics),
		Observe:  observe(metrics, telemetry.AccessLog(log)),
	}
	api := admin.New(admin.Options{
		Metrics: metrics.Handler(), Cache: mirror.Cache, Health: mirror.Health, Ledger: ledger, Pools: mirror.Pools,
		Dir: cfg.Cache.Dir, Listen: cfg.Admin.Listen, Token: token, MetricsListen: cfg.Metrics.Listen,
	})
	budgets := &budgetWriter{ledger: ledger, pools: mirror.Pools, probe: cfg.Quota.Probe, write: storage.index.PutQuotas, log: log}
	return &daemon{
		mirrors: mirrorServers(cfg, listeners.mirrors, gate, doors, options, limitConnections(cfg, log, metrics), log),
		admin:   adminServers(listeners, audit.Actions(api.Handler()), api.MetricsHandler(), log),
		api:     api,
		workers: append(renewals(doors), mirror.Run, budgets.run, audit.Run),
		summary: summary(cfg),
		reload:  func() { reload(mirror.Pools, doors, audit) },
		close:   storage.close,
	}, nil
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
func buildStack(cfg *config.Config, id string, storage *storage, ledger *ratelimit.Ledger, log *zap.Logger, metrics *telemetry.Metrics, audit *telemetry.Audit) (*stack.Stack, error) {
	upstreams, err := buildUpstreams(cfg, log, metrics)
	if err != nil {
		return nil, refusal{err}
	}
	return stack.New(stack.Options{
		ID:        id,
		Upstreams: upstreams,
		Ledger:    ledger,
		PerClient: cfg.Quota.PerClient,
		Health:    telemetry.HealthHooks(log),
		Cache: cache.Options{
			Store:    storage.blobs,
			Index:    storage.index,
			Parts:    storage.parts,
			Free:     storage.blobs.Free,
			MaxSize:  int64(cfg.Cache.MaxSize),
			MinFree:  int64(cfg.Cache.MinFree),
			MaxFills: cfg.Cache.MaxFills,
			Scrub:    cfg.Cache.Scrub,
			Hooks:    telemetry.CacheHooks(log, metrics),
		},
		Tags: tags.Options{
			Index:      storage.index,
			Fresh:      freshness(cfg),
			FreshLists: cfg.Tags.Fresh,
			Revalidate: cfg.Tags.StaleWhileRevalidate,
			MaxStale:   cfg.Tags.MaxStale,
			MaxSilence: cfg.Tags.MaxSilence,
			Hooks:      telemetry.TagHooks(log, metrics),
		},
		Membership: membershipOptions(cfg, storage.index, telemetry.MembershipHooks(log, metrics, audit)),
	})
}

// newID returns a name for this process by which it recognizes its own requests.
func newID() string { return "mirrord-" + strings.ToLower(rand.Text()) }

// watch exports the state of the stack as metrics.
func watch(metrics *telemetry.Metrics, mirror *stack.Stack, ledger *ratelimit.Ledger) {
	metrics.WatchCache(func() telemetry.Snapshot {
		return telemetry.Snapshot{Cache: mirror.Cache.Stats(), Tags: mirror.Tags.Stats(), Degraded: mirror.Health.Degraded()}
	})
	metrics.WatchQuota(ledger.Budgets)
	metrics.WatchLogins(func() []telemetry.Login { return logins(mirror.Pools) })
	for i, p := range mirror.Pools {
		metrics.WatchHosts(p.Name(), func() int { return mirror.FailingHosts(i) })
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

// reload forgets tokens and refused logins, and reads changed certificates, users and
// tokens of clients.
func reload(pools []*upstream.Pool, doors []door, audit *telemetry.Audit) {
	audit.Reopen()
	for _, p := range pools {
		p.Reload()
	}
	for _, d := range doors {
		d.certificates.Reload()
		d.auth.Reload()
	}
}

// summary is what an operator wants to know of the daemon when it starts.
func summary(cfg *config.Config) []zap.Field {
	var upstreams []string
	for _, u := range cfg.Upstreams {
		upstreams = append(upstreams, u.Name+" at "+u.URL)
	}
	return []zap.Field{
		zap.String("version", thisBuild().Version),
		zap.Strings("upstreams", upstreams),
		zap.String("cache_dir", cfg.Cache.Dir),
		zap.Stringer("max_size", cfg.Cache.MaxSize),
	}
}

// observe counts a request and logs it.
func observe(metrics *telemetry.Metrics, access func(*http.Request, proxy.Event)) func(*http.Request, proxy.Event) {
	return func(r *http.Request, e proxy.Event) {
		metrics.Observe(r, e)
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

// freshness is how long a tag is fresh: by the first rule that matches it, of its
// upstream or of all.
func freshness(cfg *config.Config) func(oci.Ref) time.Duration {
	own := make(map[string]tagrule.Rules)
	for _, u := range cfg.Upstreams {
		own[u.Name] = u.TagRules
	}
	return func(ref oci.Ref) time.Duration {
		if fresh, ok := own[ref.Upstream()].Fresh(ref.Upstream(), ref.Repository(), ref.Tag()); ok {
			return fresh
		}
		if fresh, ok := cfg.Tags.Rules.Fresh(ref.Upstream(), ref.Repository(), ref.Tag()); ok {
			return fresh
		}
		return cfg.Tags.Fresh
	}
}

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/cache"
	"mirrord/internal/config"
	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/stack"
	"mirrord/internal/tags"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// mirrord is the daemon: what runs, and what is to be closed at the end.
type mirrord struct {
	servers
	workers []runner
	facts   []zap.Field // what an operator wants to know of it at the start
	reload  func()      // reads logins again
	close   func() error
}

// runner runs until the context ends.
type runner func(context.Context) error

// build is the composition of the daemon: storage, the stack of Registries (see
// stack.New), the handler on top of it, the admin listener and telemetry beside it.
func build(cfg *config.Config, log *zap.Logger) (d *mirrord, err error) {
	metrics := telemetry.NewMetrics(buildVersion())
	storage, err := openStorage(cfg.Cache.Dir, log)
	if err != nil {
		return nil, unusable(cfg.Cache.Dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, storage.close())
		}
	}()
	ledger := ratelimit.NewLedger(rememberedQuotas(storage.index, log))
	upstreams, err := buildUpstreams(cfg, log, metrics)
	if err != nil {
		return nil, refusal{err}
	}
	mirror, err := stack.New(stack.Options{
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
	})
	if err != nil {
		return nil, err
	}
	keeper := &keeper{ledger: ledger, pools: mirror.Pools, probe: cfg.Quota.Probe, write: storage.index.PutQuotas, log: log}
	metrics.WatchCache(func() telemetry.Snapshot {
		return telemetry.Snapshot{Cache: mirror.Cache.Stats(), Tags: mirror.Tags.Stats(), Degraded: mirror.Health.Degraded()}
	})
	metrics.WatchQuota(ledger.Budgets)
	metrics.WatchLogins(func() []telemetry.Login { return logins(mirror.Pools) })
	for i, u := range upstreams {
		metrics.WatchHosts(u.Name, mirror.Hosts[i].Failing)
	}
	handler := proxy.New(proxy.Options{
		Registry:   mirror.Tags,
		Namespaces: namespaces(cfg),
		Limit:      ratelimit.NewInFlight(cfg.Clients.MaxRequests),
		Observe:    observe(metrics, telemetry.AccessLog(log)),
	})
	d = &mirrord{workers: []runner{mirror.Run, keeper.run}, facts: facts(cfg), close: storage.close}
	d.reload = func() { reloadLogins(mirror.Pools) }
	d.mirror = newServer(handler, log)
	d.mirror.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return oci.WithClient(ctx, c.RemoteAddr()) }
	d.admin = newServer((&admin{
		metrics: metrics, draining: &d.draining, cache: mirror.Cache, health: mirror.Health, dir: cfg.Cache.Dir, listen: cfg.Admin.Listen,
		budgets: func(ctx context.Context) []budget { return currentBudgets(ctx, ledger, mirror.Pools) },
	}).handler(), log)
	return d, nil
}

// reloadLogins forgets tokens and refused logins.
func reloadLogins(pools []*upstream.Pool) {
	for _, p := range pools {
		p.Reload()
	}
}

// facts are what an operator wants to know of the daemon when it starts.
func facts(cfg *config.Config) []zap.Field {
	var upstreams []string
	for _, u := range cfg.Upstreams {
		upstreams = append(upstreams, u.Name+" at "+u.URL)
	}
	return []zap.Field{
		zap.String("version", buildVersion()),
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

// rememberedQuotas are what the last process knew; losing them is no failure.
func rememberedQuotas(ix *index.Index, log *zap.Logger) map[string][]byte {
	quotas, err := ix.Quotas()
	if err != nil {
		log.Warn("the budgets of before cannot be read; the next answers tell them anew", zap.Error(err))
	}
	return quotas
}

// freshness is how long a tag is fresh: by the first rule that matches it.
func freshness(cfg *config.Config) func(oci.Ref) time.Duration {
	return func(ref oci.Ref) time.Duration {
		if fresh, ok := cfg.Tags.Rules.Fresh(ref.Upstream(), ref.Repository(), ref.Tag()); ok {
			return fresh
		}
		return cfg.Tags.Fresh
	}
}

// newServer bounds what a client may take before its request is known.
func newServer(handler http.Handler, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // podman's 1024 ranges take half of it
		ErrorLog:          zap.NewStdLog(log),
	}
}

// namespaces accepts the name of each upstream and, for Docker Hub, its
// aliases. The first upstream is the default.
func namespaces(cfg *config.Config) proxy.Namespaces {
	n := proxy.Namespaces{Default: cfg.Upstreams[0].Name, Names: make(map[string]string)}
	for _, u := range cfg.Upstreams {
		n.Names[u.Name] = u.Name
		if u.Name == oci.DockerHub {
			n.Names["index.docker.io"] = u.Name
			n.Names["registry-1.docker.io"] = u.Name
		}
	}
	return n
}

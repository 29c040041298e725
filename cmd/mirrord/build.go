package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"go.uber.org/zap"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/index"
	"mirrord/internal/cache/lru"
	"mirrord/internal/config"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// mirrord is the daemon: what runs, and what is to be closed at the end.
type mirrord struct {
	servers
	cache *cache.Cache
	close func() error
}

// build is the composition of the whole system: a request goes through the
// handler into the cache, and what that lacks through the router to an upstream
// with its tokens, its quota and its transport.
func build(cfg *config.Config, log *zap.Logger) (*mirrord, error) {
	metrics := telemetry.NewMetrics(buildVersion())
	upstreams, err := buildUpstreams(cfg, log, metrics)
	if err != nil {
		return nil, refusal{err}
	}
	storage, err := openStorage(cfg.Cache.Dir, log)
	if errors.Is(err, disk.ErrInUse) {
		return nil, refusal{err}
	}
	if err != nil {
		return nil, refusal{fmt.Errorf("cache.dir %s cannot be used: %w; make it writable for this user, or choose another directory", cfg.Cache.Dir, err)}
	}
	warnFullDisk(cfg, storage, log)
	cached, err := cache.New(cache.Options{
		Next:    upstreams,
		Store:   storage.blobs,
		Policy:  lru.NewPolicy(),
		Index:   storage.index,
		Parts:   storage.parts,
		MaxSize: int64(cfg.Cache.MaxSize),
		MinFree: int64(cfg.Cache.MinFree),
		Free:    storage.blobs.Free,
		Fresh:   cfg.Tags.Fresh,
		Hooks:   telemetry.CacheHooks(log, metrics),
	})
	if err != nil {
		return nil, errors.Join(err, storage.close())
	}
	metrics.WatchCache(cached.Stats)
	access := telemetry.AccessLog(log)
	handler := proxy.New(proxy.Options{
		Registry:   cached,
		Namespaces: namespaces(cfg),
		Observe: func(r *http.Request, e proxy.Event) {
			metrics.Observe(r, e)
			access(r, e)
		},
	})
	d := &mirrord{cache: cached, close: storage.close}
	d.mirror = newServer(handler, log)
	d.admin = newServer(newAdmin(metrics, &d.draining), log)
	return d, nil
}

// warnFullDisk tells why a mirror on a full disk keeps nothing.
func warnFullDisk(cfg *config.Config, s *storage, log *zap.Logger) {
	free, err := s.blobs.Free()
	if err == nil && free < int64(cfg.Cache.MinFree) {
		log.Warn("the disk has less free space than cache.min_free: blobs go past the cache until there is more",
			zap.String("dir", cfg.Cache.Dir), zap.Int64("free_bytes", free), zap.Stringer("min_free", cfg.Cache.MinFree))
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

func buildUpstreams(cfg *config.Config, log *zap.Logger, metrics *telemetry.Metrics) (upstream.Router, error) {
	router := make(upstream.Router, len(cfg.Upstreams))
	for _, u := range cfg.Upstreams {
		address, err := url.Parse(u.URL)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		auth, err := credentials(u, log)
		if err != nil {
			return nil, err
		}
		quota := ratelimit.New(u.Name, metrics.Transport(u.Name, upstream.NewTransport(address)))
		metrics.WatchBudget(u.Name, quota.Budget)
		router[u.Name] = upstream.New(upstream.Options{
			Name:      u.Name,
			URL:       address,
			Auth:      auth,
			Transport: quota,
			Resumed:   metrics.Resumed(u.Name),
		})
	}
	return router, nil
}

// credentials are those of the configuration or, without any, what Docker's
// config.json has for the registry.
func credentials(u config.Upstream, log *zap.Logger) (authn.Authenticator, error) {
	if u.Username != "" {
		password, err := u.Password()
		if err != nil {
			return nil, err
		}
		return authn.FromConfig(authn.AuthConfig{Username: u.Username, Password: password}), nil
	}
	host := u.Name
	if host == oci.DockerHub {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return authn.Anonymous, nil // a name of the operator's own has no login
	}
	auth, err := authn.DefaultKeychain.Resolve(registry)
	if err != nil {
		log.Warn("Docker's credentials cannot be read; pulling without a login", zap.String("upstream", u.Name), zap.Error(err))
		return authn.Anonymous, nil
	}
	return auth, nil
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

// storage is the cache directory.
type storage struct {
	blobs *disk.Store
	index *index.Index
	parts string // unfinished fills
	close func() error
}

// openStorage takes the directory for this process alone and opens what is in
// it. An index that does not open is set aside and built anew.
func openStorage(dir string, log *zap.Logger) (*storage, error) {
	unlock, err := disk.Lock(dir)
	if err != nil {
		return nil, err
	}
	s := &storage{parts: filepath.Join(dir, "fills")}
	if err := os.MkdirAll(s.parts, 0o750); err != nil {
		return nil, errors.Join(err, unlock())
	}
	if s.blobs, err = disk.Open(dir); err != nil {
		return nil, errors.Join(err, unlock())
	}
	warn := func(text string) { log.Warn("index", zap.String("badger", text)) }
	ix, damaged, err := index.OpenOrReset(filepath.Join(dir, "index"), index.Options{Warn: warn})
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	if damaged != nil {
		log.Warn("index was damaged; it is set aside and built anew from the blobs", zap.Error(damaged))
	}
	s.index = ix
	s.close = func() error { return errors.Join(ix.Close(), unlock()) }
	return s, nil
}

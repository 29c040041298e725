package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"mirrord/internal/access"
	"mirrord/internal/config"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
	"mirrord/internal/tagrule"
)

// policy is what the configuration says now, for those who ask each time. Its methods may
// be called concurrently.
type policy struct{ current atomic.Pointer[terms] }

// terms are a configuration with what is derived from it.
type terms struct {
	cfg   *config.Config
	own   map[string]tagrule.Rules // by upstream
	rules []access.Rule
}

func newPolicy(cfg *config.Config) *policy {
	p := new(policy)
	p.set(cfg)
	return p
}

// set replaces the configuration.
func (p *policy) set(cfg *config.Config) {
	t := &terms{cfg: cfg, own: make(map[string]tagrule.Rules), rules: accessRules(cfg)}
	for _, u := range cfg.Upstreams {
		t.own[u.Name] = u.TagRules
	}
	p.current.Store(t)
}

// exchange replaces the configuration, and by serve the rules that the listeners hold.
// A request in between meets one of them old and one new. With access.private allow
// only the rules stop it, so they come first; otherwise access.private does.
func (p *policy) exchange(cfg *config.Config, serve func()) {
	if cfg.Access.Private == "allow" {
		serve()
		p.set(cfg)
		return
	}
	p.set(cfg)
	serve()
}

// fresh is how long a tag is fresh: by the first rule that matches it, of its upstream or
// of all.
func (p *policy) fresh(ref oci.Ref) time.Duration {
	t := p.current.Load()
	if fresh, ok := t.own[ref.Upstream()].Fresh(ref.Upstream(), ref.Repository(), ref.Tag()); ok {
		return fresh
	}
	if fresh, ok := t.cfg.Tags.Rules.Fresh(ref.Upstream(), ref.Repository(), ref.Tag()); ok {
		return fresh
	}
	return t.cfg.Tags.Fresh
}

// reserve is how many pulls of a limit are reserved.
func (p *policy) reserve(limit int) int { return p.current.Load().cfg.Quota.Reserve.Of(limit) }

// probe is how often an upstream is asked for its budget.
func (p *policy) probe() time.Duration {
	cfg := p.current.Load().cfg
	if cfg.Offline {
		return 0
	}
	return cfg.Quota.Probe
}

// private says who gets private images.
func (p *policy) private() membership.Policy {
	switch p.current.Load().cfg.Access.Private {
	case "allow":
		return membership.Allow
	case "rules":
		return membership.Rules
	}
	return membership.Deny
}

// grants reports whether the rules allow private images to the client of ctx.
func (p *policy) grants(ctx context.Context, upstream, repository, tag string) bool {
	return access.Grants(ctx, p.current.Load().rules, upstream, repository, tag)
}

// handler is an http.Handler that can be replaced while it serves.
type handler struct{ current atomic.Pointer[http.Handler] }

func (h *handler) set(next http.Handler) { h.current.Store(&next) }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*h.current.Load()).ServeHTTP(w, r)
}

// Package stack puts the mirror's Registries together. From the client's side:
//
//	tags      what names change, while it is fresh, and the stale copy else
//	cache     content by digest, from disk or filled once for everyone
//	router    by the name of the upstream
//	pool      of one upstream's credentials: which one is used next
//	upstream  one credential's Registry over HTTP
//	ratelimit its budget, read from response headers
//	breakers  of the upstream's hosts: nothing is sent to one that fails
//	transport the network
package stack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/cache"
	"mirrord/internal/cache/lru"
	"mirrord/internal/health"
	"mirrord/internal/login"
	"mirrord/internal/ratelimit"
	"mirrord/internal/route"
	"mirrord/internal/tags"
	"mirrord/internal/upstream"
)

// Options of a Stack.
type Options struct {
	Upstreams []Upstream
	Ledger    *ratelimit.Ledger // of the budgets of all credentials
	PerClient int               // pulls that one client may cause in six hours; 0: no limit
	Health    health.Hooks

	// Cache and Tags are the limits, stores and hooks of those two. What connects
	// them to the rest is set by New: Next, Policy, Metadata, Health and Quota.
	Cache cache.Options
	Tags  tags.Options
}

// Upstream is one registry that is mirrored.
type Upstream struct {
	Name        string
	URL         *url.URL
	Credentials []Credential
	Reserve     func(limit int) int // how many pulls of a limit are reserved for images that were never pulled

	// Transport is the network, with what counts or breaks it.
	Transport http.RoundTripper

	Hooks UpstreamHooks
}

// Credential is one login of an upstream, or none.
type Credential struct {
	Name  string
	Login *login.Login
}

// UpstreamHooks report what happens to an upstream. Each must be set and must not
// block for long. Those of hosts are called under the lock of the host, so that they
// arrive in order, and must not send requests.
type UpstreamHooks struct {
	HostFails     func(host string, err error) // nothing is sent to host until a probe succeeds
	HostRecovered func(host string)
	LoginFails    func(credential string, err error, until time.Time) // it is not used until then
	LoginWorks    func(credential string)                             // again
	BudgetLost    func(credential string, err error)                  // what was remembered of it cannot be read
	Resumed       func()                                              // a body is resumed after it broke off
}

// Stack is the whole of it. Tags is its top, which clients are served from. New
// makes one; Run works for it.
type Stack struct {
	Tags   *tags.Registry
	Cache  *cache.Cache
	Health *health.Monitor
	Pools  []*upstream.Pool     // in the order of Options.Upstreams
	Hosts  []*upstream.Breakers // and theirs
}

// New puts a Stack together. It starts nothing and closes nothing: the stores in
// o are the caller's.
func New(o Options) (*Stack, error) {
	s := &Stack{Health: health.New(o.Health)}
	router := make(route.Router, len(o.Upstreams))
	for _, u := range o.Upstreams {
		hosts := upstream.NewBreakers(upstream.BreakerOptions{
			Name: u.Name, URL: u.URL, Next: u.Transport, Opened: u.Hooks.HostFails, Closed: u.Hooks.HostRecovered,
		})
		pool := newPool(u, hosts, o.Ledger)
		s.Pools, s.Hosts, router[u.Name] = append(s.Pools, pool), append(s.Hosts, hosts), pool
	}
	quota := newQuota(s.Pools, o.PerClient)
	o.Cache.Next, o.Cache.Health, o.Cache.Quota = router, s.Health, quota
	o.Cache.Policy, o.Cache.Metadata = lru.NewPolicy(), lru.NewPolicy()
	var err error
	if s.Cache, err = cache.New(o.Cache); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	o.Tags.Next, o.Tags.Health, o.Tags.Quota = s.Cache, s.Health, quota
	s.Tags = tags.New(o.Tags)
	return s, nil
}

// newPool makes the pool of an upstream. Its credentials share the network and
// what is known of its hosts.
func newPool(u Upstream, hosts *upstream.Breakers, ledger *ratelimit.Ledger) *upstream.Pool {
	o := upstream.PoolOptions{
		Name: u.Name, Reach: hosts.Reach, Reserve: u.Reserve, LoginDisabled: u.Hooks.LoginFails, LoginRestored: u.Hooks.LoginWorks,
	}
	for _, c := range u.Credentials {
		quota, err := ledger.Transport(u.Name, c.Name, hosts)
		if err != nil {
			u.Hooks.BudgetLost(c.Name, err)
		}
		o.Members = append(o.Members, upstream.Member{
			Name: c.Name, Budget: quota.Budget, Stamp: c.Login.Stamp, ReadLogin: c.Login.Check, Anonymous: c.Login.IsAnonymous(),
			Registry: upstream.New(upstream.Options{
				Name: u.Name, URL: u.URL, Auth: c.Login, Transport: quota, Resumed: u.Hooks.Resumed,
			}),
		})
	}
	return upstream.NewPool(o)
}

// Run works for all of the stack until ctx ends, and returns when everything has
// stopped: then the stores may be closed. Run once.
func (s *Stack) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, h := range s.Hosts {
		group.Go(func() error { return h.Run(ctx) })
	}
	group.Go(func() error { return s.Health.Run(ctx) })
	group.Go(func() error { return s.Tags.Run(ctx) })
	group.Go(func() error { return s.Cache.Run(ctx) })
	return group.Wait()
}

// Package stack puts the mirror's Registries together. From the client's side:
//
//	membership what is private, if an upstream has a login
//	tags      what names change, while it is fresh, and the stale copy else
//	cache     content by digest, from disk or filled once for everyone
//	fleet     what other mirrors have fetched, if there are any
//	router    by the name of the upstream
//	offline   nothing below is asked while the mirror is offline
//	pool      of one upstream's credentials: which one is used next
//	upstream  one credential's Registry over HTTP
//	ratelimit its budget, read from response headers
//	breakers  of the upstream's hosts: nothing is sent to one that fails
//	transport the network
package stack

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/cache"
	"mirrord/internal/cache/lru"
	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/fleetprobe"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/health"
	"mirrord/internal/login"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
	"mirrord/internal/route"
	"mirrord/internal/tags"
)

// Options of a Stack.
type Options struct {
	ID        string // of this mirror in Via, see oci.ParseVia
	Upstreams []Upstream
	Ledger    *ratelimit.Ledger // of the budgets of all credentials
	PerClient int               // pulls that one client may cause in six hours; 0: no limit
	Offline   bool              // nothing is sent to an upstream, and what is not cached is missing
	Health    health.Hooks

	// Cache, Tags and Membership are the limits, stores and hooks of those three. What
	// connects them to the rest is set by New: Next, Policy, Metadata, Health and Quota,
	// and what asks the upstreams. Without Membership private content is served like any
	// other.
	Cache      cache.Options
	Tags       tags.Options
	Membership *membership.Options

	Fleet *Fleet // nil: this mirror is by itself
}

// Fleet is what the mirror shares with others.
type Fleet struct {
	Bucket bucket.Bucket
	Queue  fleet.Queue
	Secret keys.Secret // none: only content is shared
	Hooks  fleet.Hooks

	// SharePrivate has content shared that is not everybody's, which needs the Secret.
	SharePrivate bool

	Work *FleetWork // nil: each mirror fetches what the bucket does not have

	// Found returns what is known of the store; nil: nothing ever is.
	Found func() fleetprobe.State
}

// mayShareState reports whether more than content may be shared, as far as is known.
func (f *Fleet) mayShareState() bool {
	if f.Found == nil {
		return true
	}
	s := f.Found()
	return !s.Basics || s.Conditions && s.SecretOK
}

// Upstream is one registry that is mirrored.
type Upstream struct {
	Name        string
	URL         *url.URL
	Credentials []Credential
	Reserve     func(limit int) int // how many pulls of a limit are reserved for images that were never pulled

	// Transport is the network, with what counts or breaks it.
	Transport http.RoundTripper

	// Optional; see upstream.Options.
	Prefix          string
	TokenHosts      []string
	ResponseTimeout time.Duration

	MaxFills  int        // blobs that are filled from it at once; 0: three quarters of the turns, if it is not the only upstream
	Fallbacks []Fallback // tried in turn while it is unavailable

	Hooks UpstreamHooks
}

// Fallback is another registry with the content of an upstream.
type Fallback struct {
	URL         *url.URL
	Credentials []Credential // at least one
	Transport   http.RoundTripper
	TokenHosts  []string // optional; see upstream.Options
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

// Stack is the whole of it. Registry is its top, which clients are served from. New
// makes one; Run works for it.
type Stack struct {
	Registry   oci.Registry
	Membership *membership.Registry // nil: private content is served like any other
	Tags       *tags.Registry
	Cache      *cache.Cache
	Health     *health.Monitor
	Uploads    *fleet.Uploads // nil: this mirror is by itself
	SharedTags *tag.Registry  // nil: it is, or has no secret
	Leases     *lease.Leases  // nil: this mirror shares no work

	options Options // as New got them
	offline offline
	ledger  *ratelimit.Ledger
	quota   *quota
	pools   []*livePool // of the upstreams, each followed by those of its fallbacks
}

// New puts a Stack together. It starts nothing and closes nothing: the stores in
// o are the caller's.
func New(o Options) (*Stack, error) {
	s := &Stack{Health: health.New(o.Health), options: o, ledger: o.Ledger}
	s.quota = &quota{pools: make(map[string]*livePool)}
	s.quota.clients.Store(ratelimit.NewClients(o.PerClient))
	s.offline.Store(o.Offline)
	router := make(route.Router, len(o.Upstreams))
	anonymous := make(map[string]oci.Registry)
	for _, u := range o.Upstreams {
		pool := s.addPool(u)
		anonymous[u.Name] = s.offline.gate(withoutLogin(u, o.ID, pool.hosts))
		router[u.Name], s.quota.pools[u.Name] = s.offline.gate(pool), pool
		if len(u.Fallbacks) > 0 {
			router[u.Name] = s.offline.gate(s.addFallbacks(pool, u))
		}
	}
	o.Cache.Limits.MaxFillsOf = maxFills(o.Upstreams, o.Cache.Limits.MaxFills)
	o.Cache.Next, o.Cache.Health, o.Cache.Quota = router, s.Health, s.quota
	if o.Fleet != nil {
		o.Cache.Next = s.joinFleet(router, &o.Cache.Hooks)
	}
	o.Cache.Policy, o.Cache.Metadata = lru.NewPolicy(), lru.NewPolicy()
	var err error
	if s.Cache, err = cache.New(o.Cache); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	o.Tags.Next, o.Tags.Health, o.Tags.Quota = s.Cache, s.Health, s.quota
	if s.SharedTags != nil {
		o.Tags.Shared = s.SharedTags.Shared
	}
	s.Tags = tags.New(o.Tags)
	s.Registry = s.Tags
	if o.Membership != nil {
		all := *o.Membership
		all.Next, all.Upstreams, all.Anonymous = s.Tags, router, anonymous
		all.LoggedIn, all.MayLogIn = s.loggedIn, s.mayLogIn
		s.Membership = membership.New(all)
		s.Registry = s.Membership
	}
	s.Registry = answerGate{s.Registry}
	return s, nil
}

// maxFills returns how many fills each upstream may have at once: not all of them,
// so that one whose downloads are slow does not hold up the others.
func maxFills(upstreams []Upstream, all int) map[string]int {
	most := make(map[string]int)
	all = cmp.Or(all, cache.DefaultMaxFills)
	for _, u := range upstreams {
		if u.MaxFills > 0 {
			most[u.Name] = u.MaxFills
		} else if len(upstreams) > 1 {
			most[u.Name] = max(1, all-all/4)
		}
	}
	return most
}

// fallbackInfix is between the name of an upstream and the number of its fallback.
const fallbackInfix = "/fallback-"

// addFallbacks returns the Registry of an upstream and its fallbacks. In errors, metrics
// and budgets they have names of their own, such as docker.io/fallback-1.
func (s *Stack) addFallbacks(first oci.Registry, u Upstream) oci.Registry {
	all := route.Failover{first}
	name := u.Name
	for i, f := range u.Fallbacks {
		u.Name, u.Prefix = fmt.Sprintf("%s%s%d", name, fallbackInfix, i+1), ""
		u.URL, u.Transport, u.Credentials, u.TokenHosts = f.URL, f.Transport, f.Credentials, f.TokenHosts
		all = append(all, s.addPool(u))
	}
	return all
}

// Run works for all of the stack until ctx ends, and returns when everything has
// stopped: then the stores may be closed. Run once.
func (s *Stack) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, p := range s.pools {
		group.Go(func() error { return p.hosts.Run(ctx) })
		if p.shared != nil {
			group.Go(func() error { return p.shared.Run(ctx) })
		}
	}
	group.Go(func() error { return s.Health.Run(ctx) })
	if s.Membership != nil {
		group.Go(func() error { return s.Membership.Run(ctx) })
	}
	if s.Uploads != nil {
		group.Go(func() error { return s.Uploads.Run(ctx) })
	}
	if s.SharedTags != nil {
		group.Go(func() error { return s.SharedTags.Run(ctx) })
	}
	if s.Leases != nil {
		group.Go(func() error { return s.Leases.Run(ctx) })
	}
	group.Go(func() error { return s.Tags.Run(ctx) })
	group.Go(func() error { return s.Cache.Run(ctx) })
	return group.Wait()
}

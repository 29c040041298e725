package stack

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"mirrord/internal/fleet/budget"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
	"mirrord/internal/upstream"
)

// livePool is the pool of an upstream, which SetCredentials replaces. Its credentials
// share the network and what is known of its hosts.
type livePool struct {
	atomic.Pointer[upstream.Pool]
	hosts  *upstream.Breakers
	shared *budget.Ledger                 // nil: other mirrors do not spend from its budgets
	logins atomic.Pointer[[]*login.Login] // of the upstream; those of its fallbacks are theirs

	transports []*ratelimit.Transport // of the current pool
}

func (p *livePool) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	return p.Load().Resolve(ctx, ref)
}

func (p *livePool) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	return p.Load().Open(ctx, ref)
}

func (p *livePool) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	return p.Load().List(ctx, q)
}

// addPool makes the pool of an upstream.
func (s *Stack) addPool(u Upstream) *livePool {
	p := &livePool{hosts: upstream.NewBreakers(upstream.BreakerOptions{
		Name: u.Name, URL: u.URL, Next: s.offline.transport(u.Transport), Opened: u.Hooks.HostFails, Closed: u.Hooks.HostRecovered,
	})}
	p.shared = s.shareBudget(u)
	s.fill(p, u)
	s.pools = append(s.pools, p)
	return p
}

// fill makes a pool of the credentials of u the current one of p. The logins count as
// used before the first request can be sent with one.
func (s *Stack) fill(p *livePool, u Upstream) {
	pooled := upstream.PoolOptions{
		Name: u.Name, Reach: p.hosts.Reach, Reserve: u.Reserve, LoginDisabled: u.Hooks.LoginFails, LoginRestored: u.Hooks.LoginWorks,
	}
	p.transports = nil
	var logins []*login.Login
	for _, c := range u.Credentials {
		quota, err := s.ledger.Transport(u.Name, c.Name, p.hosts)
		if err != nil {
			u.Hooks.BudgetLost(c.Name, err)
		}
		if p.shared != nil {
			quota.Share(p.shared, c.Login.User)
		}
		p.transports = append(p.transports, quota)
		logins = append(logins, c.Login)
		pooled.Members = append(pooled.Members, upstream.Member{
			Name: c.Name, Budget: quota.Budget, Stamp: c.Login.Stamp, ReadLogin: c.Login.Check, Anonymous: c.Login.IsAnonymous(),
			Registry: upstream.New(upstream.Options{
				Name: u.Name, ID: s.options.ID, URL: u.URL, Auth: c.Login, Transport: quota, Resumed: u.Hooks.Resumed,
				Prefix: u.Prefix, TokenHosts: u.TokenHosts, ResponseTimeout: u.ResponseTimeout,
			}),
		})
	}
	p.logins.Store(&logins)
	p.Store(upstream.NewPool(pooled))
}

// SetCredentials replaces the credentials of the upstreams, by name, but not those of
// fallbacks. Requests in flight end with the old ones. Those whose names stay keep their
// budgets. It may be called by one goroutine at a time.
func (s *Stack) SetCredentials(all map[string][]Credential) {
	for _, u := range s.options.Upstreams {
		if credentials, ok := all[u.Name]; ok {
			u.Credentials = credentials
			s.fill(s.quota.pools[u.Name], u)
		}
	}
	var transports []*ratelimit.Transport
	for _, p := range s.pools {
		transports = append(transports, p.transports...)
	}
	s.ledger.Arrange(transports)
}

// Pools returns the current pools of the upstreams, each followed by those of its
// fallbacks.
func (s *Stack) Pools() []*upstream.Pool {
	var all []*upstream.Pool
	for _, p := range s.pools {
		all = append(all, p.Load())
	}
	return all
}

// Source is an upstream, or a fallback of one: its credentials now, and its hosts.
type Source struct {
	Pool  *upstream.Pool
	Hosts *upstream.Breakers
}

// Upstream returns the name of the upstream that the source is, or is a fallback of.
func (s Source) Upstream() string {
	name, _, _ := strings.Cut(s.Pool.Name(), fallbackInfix)
	return name
}

// Sources returns the upstreams, each followed by its fallbacks.
func (s *Stack) Sources() []Source {
	var all []Source
	for _, p := range s.pools {
		all = append(all, Source{Pool: p.Load(), Hosts: p.hosts})
	}
	return all
}

// Connect returns an upstream and its fallbacks by themselves, without a cache. It sends
// nothing.
func Connect(u Upstream) []Source {
	s := &Stack{ledger: ratelimit.NewLedger(nil)}
	s.addFallbacks(s.addPool(u), u)
	return s.Sources()
}

// FailingHosts returns how many hosts of the pool i are down.
func (s *Stack) FailingHosts(i int) int { return s.pools[i].hosts.Failing() }

// loggedIn reports whether a login may have been sent to any upstream.
func (s *Stack) loggedIn() bool {
	return slices.ContainsFunc(s.pools, func(p *livePool) bool {
		return slices.ContainsFunc(*p.logins.Load(), (*login.Login).Used)
	})
}

// mayLogIn reports whether requests to an upstream, or to one of its fallbacks, may be
// sent with a login.
func (s *Stack) mayLogIn(name string) bool {
	return slices.ContainsFunc(s.pools, func(p *livePool) bool {
		return isOf(p.Load().Name(), name) && slices.ContainsFunc(*p.logins.Load(), func(l *login.Login) bool { return !l.IsAnonymous() })
	})
}

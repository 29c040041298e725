package stack

import (
	"mirrord/internal/cache"
	"mirrord/internal/membership"
	"mirrord/internal/ratelimit"
	"mirrord/internal/tags"
)

// Limits are those of a Stack that can be changed while it runs.
type Limits struct {
	Cache     cache.Limits // MaxFillsOf is set by the Stack
	Tags      tags.Limits
	PerClient int  // as in Options
	Offline   bool // as in Options
}

// SetLimits changes the limits, and evicts what is over them. Another PerClient starts
// with full shares.
func (s *Stack) SetLimits(l Limits) {
	if s.quota.clients.Load().Share() != l.PerClient {
		s.quota.clients.Store(ratelimit.NewClients(l.PerClient))
	}
	s.offline.Store(l.Offline)
	s.Tags.SetLimits(l.Tags)
	if s.Membership != nil {
		s.Membership.SetLimits(MembershipLimits(l.Tags))
	}
	l.Cache.MaxFillsOf = maxFills(s.options.Upstreams, l.Cache.MaxFills)
	s.Cache.SetLimits(l.Cache)
}

// MembershipLimits are the limits of tags for what is private: access is assumed for as
// long as a list is fresh.
func MembershipLimits(l tags.Limits) membership.Limits {
	return membership.Limits{Fresh: l.FreshLists, MaxStale: l.MaxStale, MaxSilence: l.MaxSilence}
}

package stack

import (
	"context"
	"sync/atomic"

	"mirrord/internal/ratelimit"
)

// quota decides when a pull is spent: by what the upstream's pool has left and by
// the client's share.
type quota struct {
	pools   map[string]*livePool
	clients atomic.Pointer[ratelimit.Clients]
}

func (q *quota) Save(ctx context.Context, upstream string) error {
	if p, ok := q.pools[upstream]; ok {
		if err := p.Load().CheckReserve(); err != nil {
			return err
		}
	}
	return q.clients.Load().Check(ctx, upstream)
}

// CheckReserve returns why no pull of an upstream should be spent on what no client waits
// for, an *oci.LimitError, or nil when it has more than its reserve left.
func (s *Stack) CheckReserve(upstream string) error {
	if p, ok := s.quota.pools[upstream]; ok {
		return p.Load().CheckReserve()
	}
	return nil
}

func (q *quota) Take(ctx context.Context, upstream string) error {
	return q.clients.Load().Take(ctx, upstream)
}

func (q *quota) Return(ctx context.Context, _ string) { q.clients.Load().Return(ctx) }

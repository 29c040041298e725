package stack

import (
	"context"
	"sync/atomic"

	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

// quota decides when a pull is spent: by what the upstream's pool has left and by
// the client's share. What other mirrors have fetched costs none, and is never refused.
type quota struct {
	pools   map[string]*livePool
	clients atomic.Pointer[ratelimit.Clients]
	shared  func(ctx context.Context, ref oci.Ref) bool // ref can be had from other mirrors; nil: there are none
}

func (q *quota) Save(ctx context.Context, ref oci.Ref) error {
	return q.unlessShared(ctx, ref, q.save(ctx, ref.Upstream()))
}

func (q *quota) save(ctx context.Context, upstream string) error {
	if p, ok := q.pools[upstream]; ok {
		if err := p.Load().CheckReserve(); err != nil {
			return err
		}
	}
	return q.clients.Load().Check(ctx, upstream)
}

func (q *quota) Take(ctx context.Context, ref oci.Ref) (refund func(), err error) {
	clients := q.clients.Load()
	if err := clients.Take(ctx, ref.Upstream()); err != nil {
		return func() {}, q.unlessShared(ctx, ref, err)
	}
	return func() { clients.Return(ctx) }, nil
}

// unlessShared returns err, or nil when ref costs no pull. The other mirrors are asked
// only when there is an err.
func (q *quota) unlessShared(ctx context.Context, ref oci.Ref, err error) error {
	if err != nil && q.shared != nil && q.shared(ctx, ref) {
		return nil
	}
	return err
}

// CheckReserve returns why no pull of an upstream should be spent on what no client waits
// for, an *oci.LimitError, or nil when it has more than its reserve left.
func (s *Stack) CheckReserve(upstream string) error {
	if p, ok := s.quota.pools[upstream]; ok {
		return p.Load().CheckReserve()
	}
	return nil
}

package stack

import (
	"context"

	"mirrord/internal/ratelimit"
	"mirrord/internal/upstream"
)

// quota decides when a pull is spent: by what the upstream's pool has left and by
// the client's share.
type quota struct {
	pools   map[string]*upstream.Pool
	clients *ratelimit.Clients
}

func (q *quota) Save(ctx context.Context, upstream string) error {
	if p, ok := q.pools[upstream]; ok {
		if err := p.CheckReserve(); err != nil {
			return err
		}
	}
	return q.clients.Check(ctx, upstream)
}

func (q *quota) Take(ctx context.Context, upstream string) error {
	return q.clients.Take(ctx, upstream)
}

func (q *quota) Return(ctx context.Context, _ string) { q.clients.Return(ctx) }

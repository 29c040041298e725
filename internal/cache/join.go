package cache

import (
	"context"
	"net/netip"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// join returns the flight for ref, and starts one when there is none: the client
// behind ctx waits for it from now on, until leave. It returns nil when the content has come to be kept.
func (c *Cache) join(ctx context.Context, ref oci.Ref) (*flight, error) {
	if f, settled, err := c.underWay(ctx, ref); settled {
		return f, err
	}
	unpaid, err := c.take(ctx, ref)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, settled, err := c.underWayLocked(ctx, ref); settled {
		unpaid()
		return f, err
	}
	f := c.newFlight(ref, unpaid)
	c.enlist(ctx, f)
	c.takeOff(f)
	return f, nil
}

func (c *Cache) newFlight(ref oci.Ref, unpaid func()) *flight {
	f := &flight{
		ref: ref, entry: &entry{digest: ref.Digest()}, unpaid: unpaid, letGo: func() {}, pulse: call.NewPulse(),
		opened: make(chan struct{}), called: make(chan struct{}), waiters: make(map[netip.Prefix]int, 1),
	}
	f.ctx, f.cancel = context.WithCancel(c.runner.Context())
	return f
}

// takeOff begins f. The caller holds mu.
func (c *Cache) takeOff(f *flight) {
	c.flights[keyOf(f.ref)] = f
	f.budget = c.budgetOf(f.ref)
	c.stats.Fills++
	c.runner.Go(func() { c.fly(f) })
}

// underWay returns the flight for ref, for which the client behind ctx waits from
// now on, until leave. It is settled, too, that none is to be
// started when ref is kept, is known to be missing, or it is too late.
func (c *Cache) underWay(ctx context.Context, ref oci.Ref) (f *flight, settled bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.underWayLocked(ctx, ref)
}

// underWayLocked is underWay for a caller who holds mu.
func (c *Cache) underWayLocked(ctx context.Context, ref oci.Ref) (*flight, bool, error) {
	if c.has(ref) {
		return nil, true, nil
	}
	if f := c.flights[keyOf(ref)]; f != nil {
		c.enlist(ctx, f)
		c.stats.Joined++
		c.countSaved(ref)
		return f, true, nil
	}
	if c.runner.Stopped() {
		return nil, true, call.ErrShutdown
	}
	err := c.missing.Recall(ref)
	return nil, err != nil, err
}

// take books the pull that fetching ref costs, for the client behind ctx. It
// returns what gives it back.
func (c *Cache) take(ctx context.Context, ref oci.Ref) (unpaid func(), err error) {
	if c.opts.Quota == nil || ref.Kind() != oci.Manifest {
		return func() {}, nil
	}
	if err := c.opts.Quota.Take(ctx, ref.Upstream()); err != nil {
		return nil, err
	}
	return func() { c.opts.Quota.Return(ctx, ref.Upstream()) }, nil
}

package cache

import (
	"context"
	"errors"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// joinPatience is how long a client may have waited for another repository's
// request and still have one of its own made when that fails. An upstream that
// hangs does so for both, and clients wait 30 s.
const joinPatience = 10 * time.Second

// OpenWithin opens ref, by digest, from the cache, or joins or starts the flight
// that fetches it, for a caller that tolerates only so long a silence of the
// upstream: it fails with call.ErrSilent then.
func (c *Cache) OpenWithin(ctx context.Context, ref oci.Ref, silence time.Duration) (*oci.Content, error) {
	begun := time.Now()
	via, source := oci.Hit, oci.Ref{}
	for {
		content, err := c.OpenCached(ctx, ref)
		if err == nil {
			content.Via, content.Source = via, source
			return content, nil
		}
		if !errors.Is(err, errNotCached) {
			return nil, err
		}
		if c.verifyFound(ctx, ref) {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.bypasses(ctx, ref) {
			return c.openBypass(ctx, ref)
		}
		f, err := c.join(ctx, ref)
		if errors.Is(err, errCached) {
			continue
		}
		if err != nil {
			return nil, err
		}
		content, err = c.attach(ctx, ref, f, silence)
		switch {
		case errors.Is(err, spool.ErrClosed): // the fill was faster than its client
			via, source = f.result.Via, f.ref
		case errors.Is(err, errOtherType): // ref is asked about by itself, once the digest is free
			select {
			case <-f.ctx.Done():
			case <-ctx.Done():
			}
		case errors.Is(err, spool.ErrDisk): // and so was the disk's failure
			return c.openBypass(ctx, ref)
		case loopOfAnother(ctx, f, err), reserveOfAnother(ctx, f, err): // ctx asks by itself
		case !failedForAnother(ref, f, err) || oci.Temporary(err) && time.Since(begun) > joinPatience:
			return content, err
		}
	}
}

// failedForAnother reports whether err is the upstream's response to another
// repository's request: it says nothing about ref, which is asked for next. One
// digest has one flight at a time, and a client whose own flight has failed asks no
// more, so each repository asks once.
func failedForAnother(ref oci.Ref, f *flight, err error) bool {
	return err != nil && f.ref != ref && f.isOpened() && err == f.err
}

// loopOfAnother reports whether f was refused because of the mirrors that the request
// of another client has passed through.
func loopOfAnother(ctx context.Context, f *flight, err error) bool {
	return errors.Is(err, oci.ErrLoop) && len(oci.Hops(ctx)) < len(oci.Hops(f.ctx))
}

// reserveOfAnother reports whether f was refused because it may not use the reserve, and
// that of ctx may.
func reserveOfAnother(ctx context.Context, f *flight, err error) bool {
	var limit *oci.LimitError
	return errors.As(err, &limit) && limit.Kind == oci.LimitReserve && oci.MayUseReserve(ctx) && !oci.MayUseReserve(f.ctx)
}

var (
	errCached   = errors.New("cached meanwhile")
	errNoFlight = errors.New("no flight to join")
)

// join joins the flight for ref, or starts one: the client behind ctx waits for it
// from now on, until leave. It fails with errCached when ref has been cached
// meanwhile.
func (c *Cache) join(ctx context.Context, ref oci.Ref) (*flight, error) {
	c.mu.Lock()
	f, err := c.joinFlight(ctx, ref)
	c.mu.Unlock()
	if !errors.Is(err, errNoFlight) {
		return c.reportJoined(ctx, f, err)
	}
	refund, err := c.takePull(ctx, ref)
	if err != nil {
		return nil, err
	}
	work := c.flightContext(ctx, ref)
	c.mu.Lock()
	f, err = c.joinFlight(ctx, ref)
	started := errors.Is(err, errNoFlight)
	if started {
		f, err = c.newFlight(work, ref, refund), nil
		c.flights.join(ctx, f)
		c.start(f)
	}
	c.mu.Unlock()
	if !started {
		refund()
	}
	return c.reportJoined(ctx, f, err)
}

// reportJoined reports that the request of ctx waits for f, unless err is set.
func (c *Cache) reportJoined(ctx context.Context, f *flight, err error) (*flight, error) {
	if err == nil && c.opts.Hooks.FlightJoined != nil {
		c.opts.Hooks.FlightJoined(f.ctx, ctx)
	}
	return f, err
}

// joinFlight joins the flight for ref. It fails with errNoFlight when one is to be
// started, and with another error when ref is cached, is known to be missing, or
// the mirror is shutting down. The caller holds mu.
func (c *Cache) joinFlight(ctx context.Context, ref oci.Ref) (*flight, error) {
	if _, have := c.cached(ref); have {
		return nil, errCached
	}
	if f := c.flights.of(ref); f != nil {
		c.flights.join(ctx, f)
		c.stats.Joined++
		c.countSaved(ctx, ref)
		return f, nil
	}
	if c.runner.Stopped() {
		return nil, call.ErrShutdown
	}
	if err := c.missing.Recall(ref); err != nil {
		return nil, err
	}
	return nil, errNoFlight
}

// takePull books the pull that fetching ref costs, for the client behind ctx. It
// returns what gives it back.
func (c *Cache) takePull(ctx context.Context, ref oci.Ref) (refund func(), err error) {
	if c.opts.Quota == nil || ref.Kind() != oci.Manifest {
		return func() {}, nil
	}
	return c.opts.Quota.Take(ctx, ref)
}

// attach waits for the upstream's response and returns a reader of the flight,
// which the client has joined and leaves when it is done or attach fails.
func (c *Cache) attach(ctx context.Context, ref oci.Ref, f *flight, silence time.Duration) (*oci.Content, error) {
	reading := false
	defer func() {
		if !reading {
			c.leave(ctx, f)
		}
	}()
	if err := f.pulse.Wait(ctx, f.opened, silence); err != nil {
		return nil, err
	}
	switch {
	case f.err != nil:
		return nil, f.err
	case !f.serves(ref):
		return nil, errOtherType
	case f.manifest != nil:
		return inMemory(f.result, f.manifest.raw), nil
	case f.spool == nil:
		return c.takeHandoff(ctx, ref, f)
	}
	if err := f.spool.Acquire(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.blobs.acquire(f.entry)
	c.mu.Unlock()
	reading = true
	return &oci.Content{
		Result: f.result,
		Body:   f.spool.NewReader(ctx, f.result, f.budget, c.sourceFor(ref, f)),
		Done: func() {
			c.release(f.entry)
			c.leave(ctx, f)
		},
	}, nil
}

package ratelimit

import (
	"errors"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// gate holds requests back that are known to be refused. The zero gate is open.
type gate struct {
	closed  *oci.LimitError // why, and until when; nil: open
	since   time.Time       // of the last refusal
	told    bool            // the refusal came with nothing left: the figures may open it
	probing bool            // the one request that finds out is under way
}

// gates are those that every credential of an upstream has to pass.
type gates struct {
	mu  sync.Mutex // guards all of an upstream's gates and figures; held for no I/O
	all gate       // closed by the abuse limiter, for every request
}

// admit lets a request through, or returns why not. What passes a gate that is
// not open is the probe.
func (g *gate) admit(now time.Time) (probe bool, refused error) {
	switch {
	case g.closed == nil:
		return false, nil
	case g.probing || now.Before(g.closed.RetryAt):
		again := *g.closed
		if !again.RetryAt.After(now) {
			again.RetryAt = now.Add(minRetry)
		}
		return false, &again
	}
	g.probing = true
	return true, nil
}

// next is when a request may go; zero: now.
func (g *gate) next(now time.Time) time.Time {
	if g.closed == nil || !g.closed.RetryAt.After(now) {
		return time.Time{}
	}
	return g.closed.RetryAt
}

// pass is what an admitted request may find out.
type pass struct {
	probesAll, probesPulls bool
}

// admit lets a request through both gates, or returns why not.
func (t *Transport) admit(pull bool) (p pass, err error) {
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	now := time.Now()
	if p.probesAll, err = t.upstream.all.admit(now); err != nil || !pull {
		return p, err
	}
	if p.probesPulls, err = t.pulls.admit(now); err != nil && p.probesAll {
		t.upstream.all.probing = false
	}
	return p, err
}

// conclude opens and closes the gates after an admitted request. No answer at
// all says nothing of a limit: the next request probes. It returns err, to
// which it adds what is known of the limit. The caller holds mu.
func (t *Transport) conclude(p pass, err error, now time.Time) error {
	var limit *oci.LimitError
	limited := errors.As(err, &limit)
	t.upstream.all.settle(p.probesAll, err == nil || limited && limit.Kind == oci.LimitPulls)
	t.pulls.settle(p.probesPulls, err == nil)
	if !limited {
		return err
	}
	t.limited[limit.Kind]++
	t.figures.limitedAt, t.figures.limitedBy = now, limit.Kind
	if limit.Kind == oci.LimitRequests {
		t.upstream.all.close(limit, now)
		return err
	}
	known := t.figures.at(now)
	limit.Limit, limit.Window, limit.ResetBy = known.limit, known.window, known.resetBy()
	t.pulls.close(limit, now)
	t.pulls.told = known.limit > 0 && known.remaining <= 0
	return err
}

func (g *gate) settle(probe, open bool) {
	if !probe {
		return
	}
	g.probing = false
	if open {
		g.closed = nil
	}
}

func (g *gate) close(limit *oci.LimitError, now time.Time) {
	g.closed, g.since = limit, now
}

// heed lets the figures of an answer, which a HEAD has for free, decide about
// the pulls: they go on when something is left, and are not tried while nothing
// is. That is so for one window at most: a pull finds out whether it is true.
// The caller holds mu.
func (t *Transport) heed(now time.Time) {
	g := &t.pulls
	known := t.figures.at(now)
	if g.closed == nil || !g.told || known.limit == 0 || !t.figures.observed.Equal(now) {
		return
	}
	if known.remaining > 0 {
		g.closed = nil
		return
	}
	later := now.Add(defaultRetry)
	if later.After(g.closed.RetryAt) && later.Before(g.since.Add(known.window)) {
		longer := *g.closed
		longer.RetryAt, longer.ResetBy = later, known.resetBy()
		g.closed = &longer
	}
}

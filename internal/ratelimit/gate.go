package ratelimit

import (
	"errors"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// gate blocks requests that the upstream is known to refuse. The zero gate is open.
type gate struct {
	closed    *oci.LimitError // why, and until when; nil: open
	since     time.Time       // time of the last refusal
	pause     time.Duration   // how long it was closed when the upstream did not say how long
	exhausted bool            // the upstream reported that nothing was left: a later report can open the gate
	probing   bool            // the one request that tests the limit is in flight
}

// gates are shared by all credentials of an upstream.
type gates struct {
	mu  sync.Mutex // guards all gates and reports of an upstream; not held during I/O
	all gate       // closed by the abuse limiter, for every request
}

// admit lets a request through, or returns the limit. A request that passes a
// closed gate, after RetryAt, is its probe.
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

// next returns when the next request may be sent; zero: now.
func (g *gate) next(now time.Time) time.Time {
	if g.closed == nil || !g.closed.RetryAt.After(now) {
		return time.Time{}
	}
	return g.closed.RetryAt
}

// admission says which gates an admitted request probes.
type admission struct {
	probesAll, probesPulls bool
}

// admit lets a request through both gates, or returns the limit.
func (t *Transport) admit(pull bool) (p admission, err error) {
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

// updateGates opens and closes the gates after an admitted request. A request that
// got no response says nothing about a limit: the next one probes again. It
// returns err, with the details of the limit filled in. The caller holds mu.
func (t *Transport) updateGates(p admission, err error, now time.Time) error {
	var limit *oci.LimitError
	limited := errors.As(err, &limit)
	t.upstream.all.endProbe(p.probesAll, err == nil || limited && limit.Kind == oci.LimitPulls)
	t.pulls.endProbe(p.probesPulls, err == nil)
	if !limited {
		return err
	}
	t.limited[limit.Kind]++
	t.report.limitedAt, t.report.limitedBy = now, limit.Kind
	if limit.Kind == oci.LimitRequests {
		t.upstream.all.close(limit, p.probesAll, now)
		return err
	}
	t.report.refusedAt = now
	known := t.report.at(now)
	limit.Limit, limit.Window, limit.ResetBy = known.limit, known.window, known.resetBy()
	t.pulls.exhausted = known.limit > 0 && known.remaining <= 0
	if t.pulls.exhausted && limit.RetryAt.IsZero() {
		limit.RetryAt = now.Add(defaultRetry)
	}
	t.pulls.close(limit, p.probesPulls, now)
	return err
}

// endProbe ends a probe, and opens the gate if open.
func (g *gate) endProbe(probe, open bool) {
	if !probe {
		return
	}
	g.probing = false
	if open {
		g.closed = nil
	}
}

// close closes the gate after a request, which may have been a probe, was refused.
// Many limits are of requests per second and are over at once, so that the gate is
// closed for minRetry when the upstream does not say how long, and for twice as long
// after each probe, up to defaultRetry.
func (g *gate) close(limit *oci.LimitError, probe bool, now time.Time) {
	if limit.RetryAt.IsZero() {
		switch {
		case g.closed == nil:
			g.pause = minRetry
		case probe, g.pause == 0:
			g.pause = min(max(2*g.pause, minRetry), defaultRetry)
		}
		limit.RetryAt = now.Add(g.pause)
	}
	g.closed, g.since = limit, now
}

// adjustPulls opens the gate for pulls when the response just received reports that
// pulls are left, and extends its closing while it reports none. A HEAD has this
// report for free. The closing is extended for one window at most; then a pull
// tests whether the report is true. The caller holds mu.
func (t *Transport) adjustPulls(now time.Time) {
	g := &t.pulls
	known := t.report.at(now)
	if g.closed == nil || !g.exhausted || known.limit == 0 || !t.report.observed.Equal(now) {
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

package ratelimit

import (
	"errors"
	"time"

	"mirrord/internal/oci"
)

// gate holds requests back that are known to be refused. The zero gate is open.
type gate struct {
	closed  *oci.LimitError // why, and until when; nil: open
	probing bool            // the one request that finds out is under way
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

// pass is what an admitted request may find out.
type pass struct {
	probesAll, probesPulls bool
}

// admit lets a request through both gates, or returns why not.
func (t *Transport) admit(pull bool) (p pass, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if p.probesAll, err = t.all.admit(now); err != nil || !pull {
		return p, err
	}
	if p.probesPulls, err = t.pulls.admit(now); err != nil && p.probesAll {
		t.all.probing = false
	}
	return p, err
}

// settle notes how an admitted request went. No answer at all says nothing of a
// limit: the next request probes.
func (t *Transport) settle(p pass, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var limit *oci.LimitError
	limited := errors.As(err, &limit)
	t.all.settle(p.probesAll, err == nil || limited && limit.Pulls)
	t.pulls.settle(p.probesPulls, err == nil)
	switch {
	case !limited:
	case limit.Pulls:
		t.pulls.closed = limit
	default:
		t.all.closed = limit
	}
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

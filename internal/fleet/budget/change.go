package budget

import (
	"cmp"
	"time"

	"mirrord/internal/oci"
)

// change is a new version of an account's object, and what this mirror has when it is
// written.
type change struct {
	next    state
	closing *oci.LimitError // that is in it
	granted int
	probe   time.Time // as in account
	ended   int       // pulls that had ended
	writes  bool      // there is something to write
}

// change returns what is to be written.
func (a *account) change(v view, boot string, reserve func(limit int) int) change {
	c := change{next: v.state, closing: a.closing, ended: a.ended, writes: a.flushAt.After(time.Time{}) && !v.here.Before(a.flushAt)}
	if a.closing != nil {
		c.next.close(v.store(a.closing.RetryAt), a.closing.Kind)
		c.writes = true
	} else if !a.opening.IsZero() && a.opening.Equal(c.next.ClosedUntil) {
		c.next.open()
		c.writes = true
	}
	if a.takers > 0 && a.closing == nil {
		c.take(a, v, reserve)
	}
	c.next.grant(v.there, boot, v.held+v.sent+c.granted)
	a.seq = max(a.seq, v.Seq) + 1
	c.next.Boot, c.next.Seq = boot, a.seq
	return c
}

// take adds what those who wait for a pull need: the right to test a limit, or tokens.
func (c *change) take(a *account, v view, reserve func(limit int) int) {
	floor, takers := reserve(v.Limit), a.takers
	if a.reserve > 0 {
		floor, takers = 0, a.reserve
	}
	until, closed := c.next.closed(v.there)
	switch {
	case closed && v.there.Before(until), closed && c.next.ClosedUntil.IsZero() && floor > 0:
	case closed:
		c.probe = v.there.Add(probeTime)
		c.next.close(c.probe, cmp.Or(c.next.Kind, oci.LimitPulls))
		c.writes = true
	case c.next.Limit > 0 && v.held == 0 && v.free > floor:
		c.granted = min(max((v.free-reserve(v.Limit))/parts, takers), v.free-floor)
		c.writes = true
	}
}

// apply notes that c was written, by a request that was sent at a time.
func (a *account) apply(c change, etag string, sent time.Time) {
	a.known, a.etag, a.readAt, a.flushed = c.next, etag, sent, sent
	if a.closing == c.closing {
		a.closing = nil
	}
	a.opening = time.Time{}
	if c.granted > 0 {
		a.tokens = append(a.tokens, tokens{c.granted, sent.Add(tokenTime)})
	}
	if !c.probe.IsZero() {
		a.probe = c.probe
	}
	a.flushAt = time.Time{}
}

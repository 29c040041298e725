package budget

import (
	"cmp"
	"time"

	"mirrord/internal/oci"
)

// view is an account at one moment, with the last report of the upstream.
type view struct {
	state
	clock
	held int // tokens
	sent int // pulls that Remaining may not include
	free int // pulls that are neither spent nor granted
}

func (a *account) view(c clock, boot string) view {
	v := view{state: a.known, clock: c, held: a.held(c.here), sent: len(a.unsettled(c.here))}
	if a.last != nil {
		v.hear(a.last.in(c))
	}
	v.free = v.remaining(c.there) - v.granted(c.there, boot) - v.held - v.sent
	return v
}

// verdict is what becomes of a pull.
type verdict int

const (
	undecided verdict = iota // the object has to be read or written
	allowed
	refused
	crowded // refused until the other mirrors have said what they have spent
)

// decide decides about a pull by what is known, with so many pulls in reserve that it may
// not use. It says when another may be sent if it is refused, by the store's time.
func (v *view) decide(a *account, floor int) (verdict, oci.LimitKind, time.Time) {
	if !v.ClosedUntil.IsZero() || floor == 0 {
		if until, closed := v.closed(v.there); closed {
			return v.decideClosed(a, until)
		}
	}
	kind := oci.LimitPulls
	if floor > 0 {
		kind = oci.LimitReserve
	}
	switch {
	case v.Limit == 0:
		return allowed, "", time.Time{}
	case v.held > 0 && v.free >= floor:
		return allowed, "", time.Time{}
	case v.held == 0 && v.free > floor:
		return undecided, "", time.Time{}
	case v.remaining(v.there) > floor:
		return crowded, kind, v.there.Add(flushEvery)
	}
	return refused, kind, v.ResetBy
}

// decideClosed decides about a pull while the account is closed.
func (v *view) decideClosed(a *account, until time.Time) (verdict, oci.LimitKind, time.Time) {
	switch {
	case v.there.Before(until) && a.probe.Equal(until):
		return allowed, "", time.Time{}
	case v.there.Before(until):
		return refused, cmp.Or(v.Kind, oci.LimitPulls), until
	}
	return undecided, "", time.Time{}
}

// localResetBy is the latest end of the window by this machine's time; zero: unknown.
func (v *view) localResetBy() time.Time {
	if v.ResetBy.IsZero() {
		return v.ResetBy
	}
	return v.local(v.ResetBy)
}

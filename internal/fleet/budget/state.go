package budget

import (
	"cmp"
	"slices"
	"time"

	"mirrord/internal/oci"
)

// state is what the object of an account says. All times are the store's.
type state struct {
	Limit     int       `json:"limit"`              // 0: none is known
	WindowS   int64     `json:"window_s,omitempty"` // seconds; 0: not reported
	Remaining int       `json:"remaining"`          // as the upstream has reported it
	Seen      time.Time `json:"seen"`               // when the response came that has reported it
	ResetBy   time.Time `json:"reset_by,omitzero"`  // latest end of the window, as far as one mirror knows

	Grants []grant `json:"grants,omitempty"`

	// No pull is sent before ClosedUntil, and then one that tests the limit.
	ClosedUntil time.Time     `json:"closed_until,omitzero"`
	Kind        oci.LimitKind `json:"kind,omitempty"`

	Boot string `json:"boot"` // of who has written this
	Seq  int64  `json:"seq"`  // grows with each write
}

// grant is how many pulls one mirror may send, or has sent, of those that Remaining still
// counts as left.
type grant struct {
	Boot  string    `json:"boot"`
	N     int       `json:"n"`
	Until time.Time `json:"until"`
}

const (
	grantTime = 60 * time.Second // for which a grant counts after its mirror was last heard of
	tokenTime = 30 * time.Second // for which a mirror may send a pull that was granted to it
	probeTime = 15 * time.Second // for which the others wait for the pull that tests a limit
	skew      = 2 * time.Second  // by which the store's time may differ between two mirrors

	exhaustedTime = time.Minute      // after which a pull tests whether still none are left
	maxClosed     = 15 * time.Minute // as for a Retry-After
	unknownWindow = 24 * time.Hour   // for which a report without a window is valid
	maxWindow     = 366 * 24 * time.Hour
	maxGrants     = 4096 // entries
	parts         = 16   // into which what is free is divided for grants
)

// clamped returns s with no time further in the future than a mirror writes it.
func (s state) clamped(now time.Time) state {
	s.ClosedUntil = earlier(s.ClosedUntil, now.Add(maxClosed+skew))
	s.Seen = earlier(s.Seen, now.Add(skew))
	s.Grants = slices.Clone(s.Grants[:min(len(s.Grants), maxGrants)])
	for i := range s.Grants {
		s.Grants[i].Until = earlier(s.Grants[i].Until, now.Add(grantTime+skew))
		s.Grants[i].N = max(s.Grants[i].N, 0)
	}
	s.Limit = max(s.Limit, 0)
	s.WindowS = min(max(s.WindowS, 0), int64(maxWindow/time.Second))
	return s
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// window is the length of the window; 0: it was not reported.
func (s *state) window() time.Duration { return time.Duration(s.WindowS) * time.Second }

// isOver reports whether the window of the report is over.
func (s *state) isOver(now time.Time) bool {
	return !now.Before(s.Seen.Add(cmp.Or(s.window(), unknownWindow)))
}

// remaining is what is left now: all, once the window is over.
func (s *state) remaining(now time.Time) int {
	if s.isOver(now) {
		return s.Limit
	}
	return s.Remaining
}

// granted is how many pulls are granted now to others than boot.
func (s *state) granted(now time.Time, boot string) (n int) {
	for _, g := range s.Grants {
		if g.Boot != boot && now.Before(g.Until) {
			n += g.N
		}
	}
	return n
}

// grant replaces what is granted to boot, and drops what has lapsed.
func (s *state) grant(now time.Time, boot string, n int) {
	s.Grants = slices.DeleteFunc(slices.Clone(s.Grants), func(g grant) bool {
		return g.Boot == boot || !now.Before(g.Until)
	})
	if n > 0 {
		s.Grants = append(s.Grants, grant{boot, n, now.Add(grantTime)})
	}
}

// report is what one response has told of a budget.
type report struct {
	limit, remaining int
	window           time.Duration
	resetBy          time.Time // zero: unknown
	sent, received   time.Time
}

// follows reports whether r is newer than other. Of two responses that came at the same
// time the one with less left is.
func (r report) follows(other report) bool {
	return r.received.After(other.received) || r.received.Equal(other.received) && r.remaining < other.remaining
}

// in returns r with its times in the store's time.
func (r report) in(c clock) report {
	r.sent, r.received = c.store(r.sent), c.store(r.received)
	if !r.resetBy.IsZero() {
		r.resetBy = c.store(r.resetBy)
	}
	return r
}

// hear takes over a report, with the store's times, if it is newer. That fewer are left is
// believed of one that is not much older; that more are left, which begins a new window,
// only of one whose request was sent afterwards. The new window opens what was closed because
// none were left.
func (s *state) hear(r report) {
	if s.Limit == r.limit && !s.isOver(r.received) {
		newer := r.received.After(s.Seen.Add(-skew))
		if r.remaining > s.Remaining {
			newer = r.sent.After(s.Seen.Add(skew))
		}
		if !newer {
			return
		}
	} else if !r.received.After(s.Seen) {
		return
	}
	if r.remaining > 0 && s.Remaining <= 0 && s.Kind != oci.LimitRequests {
		s.open()
	}
	s.Limit, s.Remaining, s.WindowS = r.limit, r.remaining, int64(r.window/time.Second)
	s.ResetBy = r.resetBy
	if r.received.After(s.Seen) {
		s.Seen = r.received
	}
}

func (s *state) open() { s.ClosedUntil, s.Kind = time.Time{}, "" }

func (s *state) close(until time.Time, kind oci.LimitKind) { s.ClosedUntil, s.Kind = until, kind }

// closed returns until when the account is closed, and whether it is: also after that time,
// until a pull has tested the limit. An account of which none are left is closed, too.
func (s *state) closed(now time.Time) (until time.Time, closed bool) {
	if !s.ClosedUntil.IsZero() {
		return s.ClosedUntil, true
	}
	if s.Limit > 0 && s.remaining(now) <= 0 {
		return s.Seen.Add(exhaustedTime), true
	}
	return time.Time{}, false
}

// clock relates this machine's time to the store's at one moment.
type clock struct{ here, there time.Time }

func (c clock) store(t time.Time) time.Time { return c.there.Add(t.Sub(c.here)).Round(0).UTC() }

func (c clock) local(t time.Time) time.Time { return c.here.Add(t.Sub(c.there)) }

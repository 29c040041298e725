package ratelimit

import (
	"maps"
	"time"

	"mirrord/internal/oci"
)

// Budget is what is known of one credential's pulls at one moment.
type Budget struct {
	Upstream   string
	Credential string // its name in the configuration, no user name

	Limit     int           // manifest GETs in a window; 0: no limit known
	Window    time.Duration // 0: not told
	Remaining int           // may be negative: Docker Hub has said so
	ResetBy   time.Time     // when the window is over at the latest; zero: not known
	Source    string        // whom the upstream counts, in its words
	Observed  time.Time     // when it last told figures; zero: never

	LimitedAt  time.Time // of the last 429; zero: never
	LimitedBy  oci.LimitKind
	PullsAt    time.Time // before this no manifest GET is sent; zero: at once
	RequestsAt time.Time // before this nothing is sent; zero: at once

	Spent   int64                   // manifest GETs answered since the start of the process
	Limited map[oci.LimitKind]int64 // 429s since then
}

// Budget returns what is known now.
func (t *Transport) Budget() Budget {
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	now := time.Now()
	known := t.figures.at(now)
	return Budget{
		Upstream:   t.upstream.name,
		Credential: t.credential,
		Limit:      known.limit,
		Window:     known.window,
		Remaining:  known.remaining,
		ResetBy:    known.resetBy(),
		Source:     known.source,
		Observed:   known.observed,
		LimitedAt:  known.limitedAt,
		LimitedBy:  known.limitedBy,
		PullsAt:    t.pulls.next(now),
		RequestsAt: t.upstream.all.next(now),
		Spent:      t.spent,
		Limited:    maps.Clone(t.limited),
	}
}

// Known reports whether the upstream has told a limit that still holds.
func (b Budget) Known() bool { return b.Limit > 0 }

// Reserved says why no pull should be spent on a newer copy of what is kept:
// nothing may be pulled now, or no more is left than reserve. Nil: it may.
func (b Budget) Reserved(reserve int) *oci.LimitError {
	e := &oci.LimitError{
		Upstream: b.Upstream, Limit: b.Limit, Window: b.Window, ResetBy: b.ResetBy,
		Message: "the last one was refused",
	}
	switch {
	case !b.RequestsAt.IsZero():
		e.Kind, e.RetryAt = oci.LimitRequests, b.RequestsAt
	case !b.PullsAt.IsZero():
		e.Kind, e.RetryAt = oci.LimitPulls, b.PullsAt
	case b.Known() && reserve > 0 && b.Remaining <= reserve:
		e.Kind, e.RetryAt = oci.LimitReserve, b.ResetBy
	default:
		return nil
	}
	return e
}

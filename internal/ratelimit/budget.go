package ratelimit

import (
	"maps"
	"time"

	"mirrord/internal/oci"
)

// Budget is what is known of the pulls of one credential at one moment.
type Budget struct {
	Upstream   string
	Credential string // its name in the configuration, no user name

	Limit     int           // manifest GETs in a window; 0: no limit known
	Window    time.Duration // 0: not reported
	Remaining int           // may be negative: Docker Hub has reported that
	ResetBy   time.Time     // latest end of the window; zero: unknown
	Source    string        // what the upstream counts by, as it reports it: an address or an account
	Observed  time.Time     // time of its last report; zero: never

	LimitedAt  time.Time // of the last 429; zero: never
	LimitedBy  oci.LimitKind
	RefusedAt  time.Time // of the last 429 of the pull limit; zero: never
	PullsAt    time.Time // no manifest GET is sent before; zero: no limit now
	RequestsAt time.Time // no request at all is sent before; zero: no limit now

	Shared  bool                    // other mirrors spend from it, too
	Spent   int64                   // successful manifest GETs since the start of the process
	Limited map[oci.LimitKind]int64 // 429s since then
}

// Budget returns what is known now, by other mirrors, too, if it is shared. It may be
// called concurrently.
func (t *Transport) Budget() Budget {
	t.upstream.mu.Lock()
	own := t.budget(time.Now())
	t.upstream.mu.Unlock()
	if with, account := t.shared(); with != nil {
		return own.withShared(with.Known(account))
	}
	return own
}

// budget returns what this mirror knows. The caller holds mu.
func (t *Transport) budget(now time.Time) Budget {
	known := t.report.at(now)
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
		RefusedAt:  known.refusedAt,
		PullsAt:    t.pulls.next(now),
		RequestsAt: t.upstream.all.next(now),
		Spent:      t.spent,
		Limited:    maps.Clone(t.limited),
	}
}

// Known reports whether the upstream has reported a limit that is still valid.
func (b Budget) Known() bool { return b.Limit > 0 }

// Reserved returns nil if a pull may be spent on a newer version of content that is
// already cached. Otherwise it returns the limit that forbids it: pulls are
// refused now, or no more than reserve are left.
func (b Budget) Reserved(reserve int) *oci.LimitError {
	e := &oci.LimitError{
		Upstream: b.Upstream, Limit: b.Limit, Window: b.Window, ResetBy: b.ResetBy,
		Message: "the last request was refused",
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

package ratelimit

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"mirrord/internal/oci"
)

// report is what an upstream has reported of a quota.
type report struct {
	quota
	source   string    // what it counts by: an address or an account
	observed time.Time // time of the last report
	since    time.Time // time of the first report of this window

	limitedAt time.Time // of the last 429
	limitedBy oci.LimitKind
	refusedAt time.Time // of the last 429 of the pull limit
}

// unknownWindow is how long a report without a window is valid.
const unknownWindow = 24 * time.Hour

// observe records the quota in the headers of a response. A response without one
// changes nothing: it does not mean that nothing is left. A larger remainder than
// before means a new window, unless the request was sent before the last recorded
// response: then the two responses may be out of order. It reports whether the response
// has one.
func (r *report) observe(h http.Header, sent, now time.Time) bool {
	q, ok := parseHeaders(h, now)
	if !ok {
		return false
	}
	known := r.at(now).limit > 0
	more := q.remaining > r.remaining
	if known && more && sent.Before(r.observed) {
		return true
	}
	if !known || more {
		r.since = now
	}
	r.quota, r.observed = q, now
	r.source = clipSource(h.Get("Docker-Ratelimit-Source"))
	return true
}

// at returns what is known at the time now: no quota once its window is over.
func (r *report) at(now time.Time) report {
	window := r.window
	if window == 0 {
		window = unknownWindow
	}
	over := !now.Before(r.observed.Add(window)) || !r.reset.IsZero() && !now.Before(r.reset)
	if r.observed.IsZero() || over {
		return report{observed: r.observed, limitedAt: r.limitedAt, limitedBy: r.limitedBy, refusedAt: r.refusedAt}
	}
	return *r
}

// resetBy returns the latest end of the window: the reported one, or the length of
// the window after its first report. It is zero when unknown.
func (r *report) resetBy() time.Time {
	if !r.reset.IsZero() || r.window == 0 {
		return r.reset
	}
	return r.since.Add(r.window)
}

// clipSource returns the printable ASCII of s, up to a maximum length.
func clipSource(s string) string {
	const maxLength = 64
	s = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), maxLength)]
}

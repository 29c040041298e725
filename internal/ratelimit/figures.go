package ratelimit

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"mirrord/internal/oci"
)

// figures are what an upstream has told of a quota.
type figures struct {
	quota
	source   string    // whom it counts: an address or an account
	observed time.Time // when it said so last
	since    time.Time // when it said so first in this window

	limitedAt time.Time // of the last 429
	limitedBy oci.LimitKind
}

// unknownWindow is how long figures hold whose window is not told.
const unknownWindow = 24 * time.Hour

// observe notes the headers of an answer, where they tell a quota: an answer
// without says nothing, and never that nothing is left. More left than before
// means a new window, unless the request was sent before the last answer that
// counted: then the two may have overtaken each other.
func (f *figures) observe(h http.Header, sent, now time.Time) {
	q, ok := parseHeaders(h, now)
	if !ok {
		return
	}
	known := f.at(now).limit > 0
	more := q.remaining > f.remaining
	if known && more && sent.Before(f.observed) {
		return
	}
	if !known || more {
		f.since = now
	}
	f.quota, f.observed = q, now
	f.source = clipSource(h.Get("Docker-Ratelimit-Source"))
}

// at returns the quota as far as it is known now: zero when its window is over.
func (f *figures) at(now time.Time) figures {
	window := f.window
	if window == 0 {
		window = unknownWindow
	}
	over := !now.Before(f.observed.Add(window)) || !f.reset.IsZero() && !now.Before(f.reset)
	if f.observed.IsZero() || over {
		return figures{observed: f.observed, limitedAt: f.limitedAt, limitedBy: f.limitedBy}
	}
	return *f
}

// resetBy is when the window is over at the latest: when the upstream says so,
// or a window after it was first heard of. Zero: not known.
func (f *figures) resetBy() time.Time {
	if !f.reset.IsZero() || f.window == 0 {
		return f.reset
	}
	return f.since.Add(f.window)
}

// clipSource keeps what may be shown of an upstream's word.
func clipSource(s string) string {
	const most = 64
	s = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}

package oci

import (
	"fmt"
	"time"
)

// LimitKind tells what a LimitError is about. There are no others than these,
// so it serves as a metric's label.
type LimitKind string

const (
	LimitPulls    LimitKind = "pulls"    // the upstream refuses manifest GETs, and only these
	LimitRequests LimitKind = "requests" // the upstream refuses every request
	LimitReserve  LimitKind = "reserve"  // the mirror keeps its last pulls for what it has never seen
	LimitClient   LimitKind = "client"   // the client has used up its share of the pulls
	LimitInFlight LimitKind = "inflight" // the client has too many requests under way
)

// LimitError says that the quota keeps what was asked from being fetched:
// asking again before RetryAt is known to fail.
type LimitError struct {
	Kind     LimitKind
	Upstream string
	Message  string    // the upstream's words; empty when it was not asked
	RetryAt  time.Time // when it is asked again

	// What is known of the limit, or zero.
	Client  string        // whose limit it is, for LimitClient and LimitInFlight
	Limit   int           // pulls, or requests under way
	Window  time.Duration // in this time
	ResetBy time.Time     // when the window is over, at the latest
}

// Error says what is limited, until when, and what to do.
func (e *LimitError) Error() string {
	switch e.Kind {
	case LimitInFlight:
		return fmt.Sprintf("client %s has %d requests in flight, the most that one client may have (wait until one ends, or ask the operator to raise clients.max_requests)", e.Client, e.Limit)
	case LimitClient:
		return fmt.Sprintf("client %s has used up its share of the pulls from %s%s: the next one is allowed at %s; cached content is still served (wait, or ask the operator to raise quota.per_client)",
			e.Client, e.Upstream, e.size(), moment(e.RetryAt))
	case LimitReserve:
		return fmt.Sprintf("the last pulls from %s%s are reserved for images that were never pulled before, until %s at the latest (wait, or give the mirror a login with a higher limit)",
			e.Upstream, e.size(), moment(e.until()))
	}
	latest, advice := "", "wait, or give the mirror a login with a higher limit"
	if !e.ResetBy.IsZero() {
		latest = " at the latest"
	}
	if e.Kind == LimitRequests {
		advice = "wait: this limit counts requests by address, with or without a login"
	}
	return fmt.Sprintf("%s limits %s%s until %s%s: %s (%s)",
		e.Upstream, e.Kind, e.size(), moment(e.until()), latest, e.Message, advice)
}

// size is the limit in words, where it is known.
func (e *LimitError) size() string {
	if e.Limit <= 0 || e.Window <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%d in %s)", e.Limit, e.Window)
}

func (e *LimitError) until() time.Time {
	if e.ResetBy.IsZero() {
		return e.RetryAt
	}
	return e.ResetBy
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

package oci

import (
	"fmt"
	"time"
)

// LimitKind says what a LimitError limits. The set is closed, so the kind can be
// a metric label.
type LimitKind string

const (
	LimitPulls    LimitKind = "pulls"    // the upstream refuses manifest GETs, and only these
	LimitRequests LimitKind = "requests" // the upstream refuses every request
	LimitReserve  LimitKind = "reserve"  // the mirror reserves its last pulls for images it has never seen
	LimitClient   LimitKind = "client"   // the client has used up its share of the pulls
	LimitInFlight LimitKind = "inflight" // the client has too many requests in flight
	LimitLogins   LimitKind = "logins"   // the client has failed to log in too often
	LimitRate     LimitKind = "rate"     // the client sends too many requests in a second
)

// LimitError says that a limit prevents a request: a retry before RetryAt will
// fail, too.
type LimitError struct {
	Kind     LimitKind
	Upstream string
	Message  string    // the upstream's error message; empty when no request was sent
	RetryAt  time.Time // when the next request may be sent

	// Details of the limit, zero when unknown.
	Client  string // the limited client, for LimitClient, LimitInFlight, LimitRate and LimitLogins
	Limit   int    // pulls or failed logins in Window, requests in flight, or requests a second
	Window  time.Duration
	ResetBy time.Time // the latest end of the window
}

// Error returns what is limited, until when, and what to do.
func (e *LimitError) Error() string {
	switch e.Kind {
	case LimitInFlight:
		return fmt.Sprintf("client %s has %d requests in flight, the most that one client may have (wait until one ends, or ask the operator to raise clients.max_requests)", e.Client, e.Limit)
	case LimitLogins:
		return fmt.Sprintf("client %s has failed to log in too often: the next try is allowed at %s (check the user and the password)", e.Client, moment(e.RetryAt))
	case LimitRate:
		return fmt.Sprintf("client %s sends more than %d requests a second (slow down, or ask the operator to raise clients.requests_per_second)", e.Client, e.Limit)
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

// size describes the limit, or is empty when it is unknown.
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

package budget

import (
	"slices"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

// account is what this mirror knows and holds of one account. It is guarded by Ledger.mu.
type account struct {
	name, key string

	known  state // the object, as it was last read or written; zero: there is none
	etag   string
	readAt time.Time // when the request was sent that brought known; zero: never
	seq    int64     // of the last attempt to write

	last *report // of the upstream to this mirror, which may be in known; nil: none

	tokens []tokens
	pulls  []pull
	probe  time.Time // the ClosedUntil with which this mirror has won the pull that tests the limit; zero: it has not, or has sent that
	probed pullTest  // what was sent; zero: it was not, or has ended

	takers  int // pulls that wait for a turn
	reserve int // those of them that may use the reserve

	closing  *oci.LimitError // a refusal that the others do not know of
	opening  time.Time       // the ClosedUntil of a limit of which they do not know that it is over
	ended    int             // pulls that have ended since known was written
	flushAt  time.Time       // when these are written; zero: nothing is to be written
	flushed  time.Time       // when known was written last
	turning  bool            // requests for the account are in flight, or about to be
	reread   bool            // what was read is not believed any longer
	lastUsed time.Time
}

// tokens are pulls that were granted together.
type tokens struct {
	n     int
	until time.Time
}

// pullTest is a pull that tests a limit.
type pullTest struct {
	until time.Time // the ClosedUntil with which it was won
	begun time.Time
}

// pull is one that was sent.
type pull struct {
	begun, ended time.Time
	reported     bool // its response has told what is left
}

const pullTime = grantTime // after which one that has not ended is forgotten

// held is how many pulls this mirror may send.
func (a *account) held(now time.Time) (n int) {
	a.tokens = slices.DeleteFunc(a.tokens, func(t tokens) bool { return t.n == 0 || !now.Before(t.until) })
	for _, t := range a.tokens {
		n += t.n
	}
	return n
}

// spend sends a pull, with a token if there is one, or as the one that tests the limit.
func (a *account) spend(now time.Time, closed bool) {
	if closed {
		a.probe, a.probed = time.Time{}, pullTest{a.probe, now}
	} else if a.held(now) > 0 {
		a.tokens[0].n--
	}
	a.pulls = append(a.unsettled(now), pull{begun: now})
}

// end ends the pull that was sent first.
func (a *account) end(o ratelimit.Outcome) {
	for i := range a.pulls {
		if p := &a.pulls[i]; p.ended.IsZero() {
			p.ended, p.reported = o.Received, o.Reported
			return
		}
	}
}

// tell takes over how a request has ended.
func (a *account) tell(o ratelimit.Outcome) {
	if o.Pull {
		a.end(o)
		a.ended++
	}
	if b := o.Budget; o.Reported {
		if r := (report{b.Limit, b.Remaining, b.Window, b.ResetBy, o.Sent, o.Received}); a.last == nil || r.follows(*a.last) {
			a.last = &r
		}
	}
}

// tests reports whether o is of the pull that tests a limit.
func (a *account) tests(o ratelimit.Outcome) bool {
	return !a.probed.begun.IsZero() && !o.Sent.Before(a.probed.begun)
}

// note takes over what was read by a request that was sent at a time. An object that is older
// than what is known was put back by somebody: it is to be replaced.
func (a *account) note(s state, etag string, sent time.Time) {
	a.etag, a.readAt, a.reread = etag, sent, false
	if s.Seq >= a.known.Seq || s.Seen.After(a.known.Seen) {
		a.known = s
	}
}

// unsettled returns the pulls that the last report may not include. It includes for certain
// that of its own response, those whose responses have told of more, and what had ended before
// its request was sent.
func (a *account) unsettled(now time.Time) (all []pull) {
	for _, p := range a.pulls {
		settled := !p.ended.IsZero() && (p.reported || a.last != nil && !p.ended.After(a.last.sent))
		if !settled && now.Sub(p.begun) < pullTime {
			all = append(all, p)
		}
	}
	return all
}

// isFresh reports whether what is known of the object is believed.
func (a *account) isFresh(now time.Time) bool {
	return !a.readAt.IsZero() && now.Sub(a.readAt) < freshTime
}

// addTaker counts n more pulls that wait for a token.
func (a *account) addTaker(mayUseReserve bool, n int) {
	if a.takers += n; mayUseReserve {
		a.reserve += n
	}
}

// Package budget divides the pulls that an upstream allows an account among the mirrors of a
// fleet. What is left, and what each mirror may send of it, is an object in their bucket; a
// mirror that may send no more takes a part of what is left. While the bucket does not
// respond each mirror keeps to what the upstream tells it.
package budget

import (
	"context"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

// Options of a Ledger. All but Ready are required.
type Options struct {
	Upstream string
	Bucket   bucket.Bucket
	Secret   keys.Secret
	Reserve  func(limit int) int // how many of the last pulls are left to images that were never pulled
	Ready    func() bool         // whether the bucket can be trusted with budgets; nil: always
}

// Ledger is the budgets of the accounts at one upstream. It is a ratelimit.Shared. New makes
// one; Run works for it. Its methods may be called concurrently.
type Ledger struct {
	opts   Options
	boot   string // names this process in grants
	runner *call.Runner
	turns  *call.Group[string, struct{}]
	wake   chan struct{} // an account may have something to write

	mu         sync.Mutex // guards all below; nothing is sent under it
	accounts   map[string]*account
	alone      time.Duration // for which the bucket is left alone, after a failure
	aloneUntil time.Time
	stats      Stats
}

// Stats are counters since the start.
type Stats struct {
	Grants  int64 // that this mirror has taken
	Granted int64 // pulls of these
	Pulls   map[Result]int64
}

// Result is how it was decided about a pull. The set is closed.
type Result string

// The Results.
const (
	Granted Result = "granted" // it was granted to this mirror, or nothing is known of a limit
	Refused Result = "refused" // the mirrors together have none left for it
	Alone   Result = "alone"   // the bucket did not say in time: this mirror has decided by itself
)

const (
	flushEvery = 2 * time.Second // after which what was spent is written
	nearFloor  = 2 * parts       // pulls above the reserve from which on it is written at once

	maxAccounts = 64
	idleTime    = 10 * time.Minute // after which an account makes room for another
)

// New returns a Ledger. Nothing is sent.
func New(o Options) *Ledger {
	runner := call.NewRunner()
	return &Ledger{
		opts: o, boot: rand.Text(), runner: runner, turns: call.NewGroup[string, struct{}](runner), wake: make(chan struct{}, 1),
		accounts: make(map[string]*account), stats: Stats{Pulls: map[Result]int64{Granted: 0, Refused: 0, Alone: 0}},
	}
}

// account returns the account of that name, or nil when there are too many. The caller
// holds mu.
func (l *Ledger) account(name string) *account {
	now := time.Now()
	a := l.accounts[name]
	if a == nil {
		for other, idle := range l.accounts {
			if len(l.accounts) >= maxAccounts && now.Sub(idle.lastUsed) >= idleTime {
				delete(l.accounts, other)
			}
		}
		if len(l.accounts) >= maxAccounts {
			return nil
		}
		a = &account{name: name, key: l.opts.Secret.Ledger(l.opts.Upstream, name)}
		l.accounts[name] = a
	}
	a.lastUsed = now
	return a
}

// clock returns the store's time now, or false before its first response.
func (l *Ledger) clock() (clock, bool) {
	there, ok := l.opts.Bucket.Now()
	return clock{time.Now(), there.Round(0).UTC()}, ok
}

// Run writes what this mirror has spent and what it was refused, until ctx ends. Run once.
func (l *Ledger) Run(ctx context.Context) error {
	defer l.runner.Wait()
	defer l.runner.Stop()
	for {
		timer := time.NewTimer(l.flush())
		select {
		case <-timer.C:
		case <-l.wake:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// flush starts a turn for each account that has something to write by now, and returns the
// time until the next one will have.
func (l *Ledger) flush() time.Duration {
	const never = time.Hour
	l.mu.Lock()
	defer l.mu.Unlock()
	now, next := time.Now(), never
	for _, a := range l.accounts {
		if a.flushAt.IsZero() || a.turning {
			continue
		}
		wait := max(a.flushAt.Sub(now), l.aloneUntil.Sub(now))
		if !l.ready() {
			wait = max(wait, minAlone)
		}
		if wait <= 0 {
			l.start(a)
		} else {
			next = min(next, wait)
		}
	}
	return next
}

// ready reports whether the bucket may be used.
func (l *Ledger) ready() bool { return l.opts.Ready == nil || l.opts.Ready() }

// start joins the turn of an account, or starts one. The caller holds mu.
func (l *Ledger) start(a *account) *call.Call[struct{}] {
	a.turning = true
	turn := func(ctx context.Context) (struct{}, error) { return struct{}{}, l.turn(ctx, a) }
	c, _ := l.turns.DoThen(a.name, turn, func() {
		l.mu.Lock()
		a.turning = false
		l.mu.Unlock()
		l.wakeUp()
	})
	return c
}

func (l *Ledger) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Told is of the interface.
func (l *Ledger) Told(name string, o ratelimit.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(name)
	if a == nil {
		return
	}
	now := time.Now()
	a.tell(o)
	switch {
	case o.Limited != nil:
		a.closing = o.Limited
		l.flushBy(a, now)
	case o.Pull && o.Answered && a.tests(o):
		a.opening, a.probed = a.probed.until, pullTest{}
		l.flushBy(a, now)
	case o.Pull && (a.last != nil || a.known.Limit > 0):
		l.flushBy(a, l.flushTime(a, now))
	}
}

// flushTime is when it is written that a pull was spent: at once when few are left. The
// caller holds mu.
func (l *Ledger) flushTime(a *account, now time.Time) time.Time {
	if k, ok := l.clock(); ok {
		if v := a.view(k, l.boot); v.free < l.opts.Reserve(v.Limit)+nearFloor {
			return now
		}
	}
	return a.flushed.Add(flushEvery)
}

// flushBy has what there is to tell of an account written at a time, or before. The caller
// holds mu.
func (l *Ledger) flushBy(a *account, at time.Time) {
	if a.flushAt.IsZero() || at.Before(a.flushAt) {
		a.flushAt = at
	}
	l.wakeUp()
}

// Known is of the interface.
func (l *Ledger) Known(name string) ratelimit.Budget {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := ratelimit.Budget{Upstream: l.opts.Upstream, Shared: l.ready()}
	a := l.accounts[name]
	k, ok := l.clock()
	if a == nil || !ok {
		return b
	}
	v := a.view(k, l.boot)
	if v.Limit > 0 && !v.isOver(k.there) {
		b.Limit, b.Window, b.Remaining = v.Limit, v.window(), v.Remaining
		b.ResetBy, b.Observed = v.localResetBy(), k.local(v.Seen)
	}
	if k.there.Before(v.ClosedUntil) {
		if b.PullsAt = k.local(v.ClosedUntil); v.Kind == oci.LimitRequests {
			b.RequestsAt = b.PullsAt
		}
	}
	return b
}

// Stats returns the counters.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Pulls = maps.Clone(s.Pulls)
	return s
}

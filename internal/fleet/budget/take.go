package budget

import (
	"cmp"
	"context"
	"errors"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// takeTime is for how long a pull waits for the bucket.
const takeTime = 2 * time.Second

// crowdedTime is for how long what is known is believed while other mirrors spend the last
// pulls.
const crowdedTime = 250 * time.Millisecond

// Take is of the interface. After two seconds, and while the bucket fails, what the upstream
// has told this mirror decides alone.
func (l *Ledger) Take(ctx context.Context, name string, mayUseReserve bool) error {
	waiting, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	for last := false; ; {
		a, next, err := l.try(name, mayUseReserve, last)
		if next == done {
			return err
		}
		if next == pause {
			last = !call.Sleep(waiting, jitter())
		}
		last = last || !l.await(waiting, a, mayUseReserve)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// step is what comes next for a pull.
type step int

const (
	done  step = iota // it is decided
	ask               // a turn of its account
	pause             // and before that a moment, in which other mirrors have one
)

// try decides about a pull by what is known. Only the last try is sure to be done.
func (l *Ledger) try(name string, mayUseReserve, last bool) (*account, step, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	a := l.account(name)
	if a == nil {
		l.stats.Pulls[Alone]++
		return nil, done, nil
	}
	k, _ := l.clock()
	v := a.view(k, l.boot)
	fails := now.Before(l.aloneUntil) || !l.ready()
	switch fresh := a.isFresh(now); {
	case (!fresh || a.reread) && !last && !fails:
		return a, ask, nil
	case !fresh && (fails || now.Sub(a.readAt) > freshTime+takeTime):
		return a, done, l.decideAlone(a, v)
	}
	floor := 0
	if !mayUseReserve {
		floor = l.opts.Reserve(v.Limit)
	}
	decided, kind, until := v.decide(a, floor)
	switch {
	case decided == allowed:
		return a, done, l.allow(a, v, Granted)
	case decided == refused, decided == crowded && (last || fails):
		return a, done, l.refuse(v, kind, until)
	case decided == crowded:
		a.reread = now.Sub(a.readAt) >= crowdedTime
		return a, pause, nil
	case fails:
		return a, done, l.decideAlone(a, v)
	case last:
		return a, done, l.decideLost(a, v, floor)
	}
	return a, ask, nil
}

// await waits for a turn of an account in which a pull may be granted, and reports false when
// there is none in time.
func (l *Ledger) await(ctx context.Context, a *account, mayUseReserve bool) bool {
	l.mu.Lock()
	a.addTaker(mayUseReserve, 1)
	turn := l.start(a)
	l.mu.Unlock()
	_, err := turn.Wait(ctx, call.Endless)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.addTaker(mayUseReserve, -1)
	return ctx.Err() == nil && !errors.Is(err, call.ErrShutdown)
}

// decideAlone decides about a pull without the bucket: only what is known to be refused is
// refused. The caller holds mu.
func (l *Ledger) decideAlone(a *account, v view) error {
	if v.there.Before(v.ClosedUntil) {
		return l.refuse(v, cmp.Or(v.Kind, oci.LimitPulls), v.ClosedUntil)
	}
	return l.allow(a, v, Alone)
}

// decideLost decides about a pull that was not granted because other mirrors were faster each
// time: it is sent if there are far more left than these have in flight. The caller holds mu.
func (l *Ledger) decideLost(a *account, v view, floor int) error {
	if _, closed := v.closed(v.there); closed || v.free-floor < parts*(len(v.Grants)+1) {
		return l.refuse(v, oci.LimitPulls, v.there)
	}
	return l.allow(a, v, Alone)
}

// allow has a pull sent. The caller holds mu.
func (l *Ledger) allow(a *account, v view, how Result) error {
	l.stats.Pulls[how]++
	_, closed := v.closed(v.there)
	a.spend(v.here, closed && !a.probe.IsZero())
	return nil
}

const minRetry = time.Second

// refuse returns the error for a pull that may be sent from until on, by the store's time;
// the zero time is unknown. The caller holds mu.
func (l *Ledger) refuse(v view, kind oci.LimitKind, until time.Time) error {
	l.stats.Pulls[Refused]++
	e := &oci.LimitError{
		Kind: kind, Upstream: l.opts.Upstream, Message: "the mirrors of the fleet have used up their pulls",
		Limit: v.Limit, Window: v.window(), ResetBy: v.localResetBy(),
	}
	if !v.ClosedUntil.IsZero() {
		e.Message = "a mirror of the fleet was refused"
	}
	if !until.IsZero() {
		e.RetryAt = v.local(until)
		if soon := v.here.Add(minRetry); e.RetryAt.Before(soon) {
			e.RetryAt = soon
		}
	}
	return e
}

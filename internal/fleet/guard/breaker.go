package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mirrord/internal/fleet/bucket"
)

const (
	maxFailures    = 5           // in a row, after which the bucket is left alone
	minFailureTime = time.Second // from the first of them to the last
	firstPause     = 5 * time.Second
	maxPause       = time.Minute
)

// breaker leaves a bucket alone that fails. Its methods may be called concurrently.
type breaker struct {
	hooks Hooks

	mu       sync.Mutex // guards the rest
	failures int        // in a row
	since    time.Time  // of the first of them
	open     bool
	trying   bool // since it is open a request was let through, and has not ended yet
	retryAt  time.Time
	pause    time.Duration // before the next try
	err      error         // the last failure
}

func newBreaker(h Hooks) *breaker { return &breaker{hooks: h, pause: firstPause} }

// try says that a request finds out whether a bucket that is left alone works again.
type try bool

// allow fails while the bucket is to be left alone. Once that is over, one caller tries,
// and the others wait for the next pause.
func (b *breaker) allow() (try, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return false, nil
	}
	now := time.Now()
	if now.Before(b.retryAt) {
		return false, fmt.Errorf("the bucket fails: %w", b.err)
	}
	b.trying = true
	b.retryAt = now.Add(b.pause)
	return true, nil
}

// giveBack has the next caller try in the place of one that has found out nothing.
func (b *breaker) giveBack(t try) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bool(t) && b.open {
		b.retryAt = time.Now()
	}
}

// failure returns why the bucket is left alone, or nil.
func (b *breaker) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	return b.err
}

// note notes how a request of ctx has ended. What its caller has given up tells nothing.
func (b *breaker) note(ctx context.Context, t try, err error) {
	switch {
	case !isFailure(err):
		b.succeed()
	case ctx.Err() == nil || errors.Is(context.Cause(ctx), bucket.ErrTimeout):
		b.fail(err)
	default:
		b.giveBack(t)
	}
}

// isFailure reports whether err is one of the store, and not its answer.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, bucket.ErrAbsent) && !errors.Is(err, bucket.ErrPrecondition) && !errors.Is(err, bucket.ErrConflict)
}

func (b *breaker) succeed() {
	b.mu.Lock()
	recovered := b.open
	b.failures, b.open, b.trying, b.pause, b.err = 0, false, false, firstPause, nil
	b.mu.Unlock()
	if recovered && b.hooks.Recovered != nil {
		b.hooks.Recovered()
	}
}

// fail notes a failure. Of the requests that were in flight when the bucket was left alone
// the others do not make that any longer: only one that was let through since does.
func (b *breaker) fail(err error) {
	now := time.Now()
	b.mu.Lock()
	if b.failures == 0 {
		b.since = now
	}
	b.failures++
	b.err = err
	opens := !b.open && b.failures >= maxFailures && now.Sub(b.since) >= minFailureTime
	if opens || b.trying {
		b.open, b.trying = true, false
		b.retryAt = now.Add(b.pause)
		b.pause = min(2*b.pause, maxPause)
	}
	b.mu.Unlock()
	if opens && b.hooks.Failing != nil {
		b.hooks.Failing(err)
	}
}

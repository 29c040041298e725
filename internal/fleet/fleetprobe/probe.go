// Package fleetprobe finds out by requests what the object store of a fleet can do, and
// whether this mirror has the fleet's secret.
package fleetprobe

import (
	"context"
	"errors"
	"sync"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
)

// Capabilities are what the store was found to do. The zero value is that of a store which
// is trusted with blobs only.
type Capabilities struct {
	Conditions bool // of writes that race one succeeds, and one whose condition does not hold is refused
	SecretOK   bool // this mirror has the secret of the mirror that was first in the bucket
	Ages       bool // the ages of objects are right to a few seconds
	Touch      bool // the age of an object can be set to zero
}

// What a store or a mirror lacks, for good.
var (
	// ErrConditions says that the store does not heed the conditions of writes.
	ErrConditions = errors.New("the object store does not support conditional writes")
	// ErrSecret says that the bucket belongs to mirrors with another secret.
	ErrSecret = errors.New("the secret of this mirror is not the one of the fleet")
)

// Options of a Prober.
type Options struct {
	Bucket bucket.Bucket
	Secret keys.Secret // may be none
	Hooks  Hooks
}

// Hooks report what is found. Each may be nil and must not block for long.
type Hooks struct {
	Failed       func(err error)      // the bucket could not be probed; reported once
	NoConditions func(err error)      // the store lacks conditional writes; once
	WrongSecret  func(err error)      // at each check that finds it
	Probed       func(c Capabilities) // all is known
}

// Prober probes a bucket once. Its methods may be called concurrently.
type Prober struct {
	opts   Options
	basics chan struct{} // closed once Conditions and SecretOK are known
	done   chan struct{} // closed once all is known

	mu       sync.Mutex // guards the rest
	found    Capabilities
	lacks    error // why Conditions is false, once that is known
	secret   error // why SecretOK is false, if the secret is wrong
	failure  error // of the last attempt; nil after one that ended
	reported bool  // a failure
}

const (
	firstPause  = 5 * time.Second // before the next attempt, then twice as long
	maxPause    = 5 * time.Minute
	attemptTime = time.Minute
)

// New returns a Prober. Nothing is sent before Run.
func New(o Options) *Prober {
	return &Prober{opts: o, basics: make(chan struct{}), done: make(chan struct{})}
}

// Capabilities returns what is known now.
func (p *Prober) Capabilities() Capabilities {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.found
}

// State is what a person wants to know of a probe.
type State struct {
	Capabilities
	Basics, Done bool  // Conditions and SecretOK are known; all is
	Lack         error // why there are no Conditions
	Secret       error // ErrSecret, with details
	Failure      error // why the last attempt could not be ended
}

// State returns what is known, and what is not, and why.
func (p *Prober) State() State {
	s := State{Basics: closed(p.basics), Done: closed(p.done)}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Capabilities, s.Lack, s.Secret, s.Failure = p.found, p.lacks, p.secret, p.failure
	return s
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// AwaitBasics returns once Conditions and SecretOK are known. It fails when ctx ends
// before, with what the last attempt failed of if there was one.
func (p *Prober) AwaitBasics(ctx context.Context) (State, error) { return p.await(ctx, p.basics) }

// Await returns once all is known, and fails as AwaitBasics does.
func (p *Prober) Await(ctx context.Context) (State, error) { return p.await(ctx, p.done) }

func (p *Prober) await(ctx context.Context, known chan struct{}) (State, error) {
	select {
	case <-known:
		return p.State(), nil
	case <-ctx.Done():
		s := p.State()
		if s.Failure != nil {
			return s, s.Failure
		}
		return s, context.Cause(ctx)
	}
}

// Run probes until all is known, with growing pauses while the bucket fails. A wrong
// secret is checked again for as long as it is, until ctx ends. Run once.
func (p *Prober) Run(ctx context.Context) error {
	if !p.persist(ctx, p.findConditions) || !p.persist(ctx, p.findSecret) {
		return nil
	}
	close(p.basics)
	if !p.persist(ctx, p.findAges) {
		return nil
	}
	close(p.done)
	if p.opts.Hooks.Probed != nil {
		p.opts.Hooks.Probed(p.Capabilities())
	}
	for p.State().Secret != nil {
		if !call.Sleep(ctx, maxPause) || !p.persist(ctx, p.findSecret) {
			return nil
		}
	}
	return nil
}

// persist attempts until there is a result. It reports whether there is one before ctx
// ends.
func (p *Prober) persist(ctx context.Context, attempt func(context.Context) error) bool {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		bounded, cancel := context.WithTimeout(ctx, attemptTime)
		err := attempt(bounded)
		cancel()
		if ctx.Err() != nil {
			return false
		}
		p.noteAttempt(err)
		if err == nil {
			return true
		}
		if !call.Sleep(ctx, pause) {
			return false
		}
	}
}

func (p *Prober) noteAttempt(err error) {
	p.mu.Lock()
	p.failure = err
	report := err != nil && !p.reported
	p.reported = p.reported || err != nil
	p.mu.Unlock()
	if report && p.opts.Hooks.Failed != nil {
		p.opts.Hooks.Failed(err)
	}
}

// set changes what is known.
func (p *Prober) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

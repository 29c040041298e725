// Package call makes one call on behalf of everyone who wants its result: the
// first caller starts it, the others wait for it too. Unlike one of singleflight it
// belongs to no caller: it ends with the owner of its Group, and each caller
// decides how long it tolerates a silent upstream.
package call

import (
	"context"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// Timeout ends a call, well below the 30 s after which containerd gives up.
const Timeout = 20 * time.Second

// Runner runs the goroutines of one owner, which ends them with Stop and Wait. Its
// methods may be called concurrently.
type Runner struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // guards all below
	stopped bool
	running sync.WaitGroup
}

// NewRunner returns a Runner. Its owner calls Stop.
func NewRunner() *Runner {
	ctx, cancel := context.WithCancel(context.Background())
	return &Runner{ctx: ctx, cancel: cancel}
}

// Context returns the context of what runs, which ends with Stop.
func (r *Runner) Context() context.Context { return r.ctx }

// Go runs f in a goroutine and returns true, or returns false after Stop.
func (r *Runner) Go(f func()) bool {
	done, ok := r.Hold()
	if ok {
		go func() {
			defer done()
			f()
		}()
	}
	return ok
}

// Hold makes Wait wait until done is called, for work in a goroutine of the
// caller's. It returns false after Stop.
func (r *Runner) Hold() (done func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return nil, false
	}
	r.running.Add(1)
	return r.running.Done, true
}

// Stop makes Go and Hold return false from now on and ends the context. It may be
// called again.
func (r *Runner) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.cancel()
}

// Stopped reports whether Stop has been called.
func (r *Runner) Stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// Wait waits for everything that runs. Call it after Stop.
func (r *Runner) Wait() { r.running.Wait() }

// ErrShutdown refuses a call after Stop.
var ErrShutdown = oci.Errorf(oci.Unavailable, "the mirror is shutting down")

// Group has at most one call for each key in flight. Its methods may be called
// concurrently.
type Group[K comparable, V any] struct {
	runner *Runner

	mu       sync.Mutex // guards inFlight; taken under the owner's lock
	inFlight map[K]*Call[V]
}

// NewGroup returns a Group whose calls run in r.
func NewGroup[K comparable, V any](r *Runner) *Group[K, V] {
	return &Group[K, V]{runner: r, inFlight: make(map[K]*Call[V])}
}

// Call is one call in flight, or completed.
type Call[V any] struct {
	pulse  *Pulse
	done   chan struct{} // closed when the fields below are set
	result V
	err    error
}

// Do joins the call for key that is in flight, or starts one; it does not wait. f
// gets a context that ends after Timeout or with the Runner. After Stop the call
// has failed with ErrShutdown.
//
// The call is in flight until f has returned. So where f stores its result under a
// lock, a caller of Do that holds this lock and does not find the result joins the
// call that is about to store it.
func (g *Group[K, V]) Do(key K, f func(context.Context) (V, error)) (c *Call[V], joined bool) {
	return g.DoThen(key, f, func() {})
}

// DoThen is Do; then runs when the waiters have the result.
func (g *Group[K, V]) DoThen(key K, f func(context.Context) (V, error), then func()) (c *Call[V], joined bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.inFlight[key]; c != nil {
		return c, true
	}
	c = &Call[V]{pulse: NewPulse(), done: make(chan struct{})}
	if !g.runner.Go(func() { g.run(key, c, f, then) }) {
		c.err = ErrShutdown
		close(c.done)
		return c, false
	}
	g.inFlight[key] = c
	return c, false
}

func (g *Group[K, V]) run(key K, c *Call[V], f func(context.Context) (V, error), then func()) {
	ctx, cancel := context.WithTimeout(g.runner.ctx, Timeout)
	defer cancel()
	c.result, c.err = f(oci.WithProgress(ctx, c.pulse.Beat))
	g.mu.Lock()
	delete(g.inFlight, key)
	g.mu.Unlock()
	close(c.done)
	then()
}

// Wait returns the result of the call, or fails as Pulse.Wait does.
func (c *Call[V]) Wait(ctx context.Context, silence time.Duration) (V, error) {
	if err := c.pulse.Wait(ctx, c.done, silence); err != nil {
		var none V
		return none, err
	}
	return c.result, c.err
}

package cache

import (
	"context"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// flightKey identifies a flight: one for a digest across all repositories of an
// upstream. A failure of one upstream is not another's.
type flightKey struct {
	upstream string
	partKey
}

func keyOf(ref oci.Ref) flightKey { return flightKey{ref.Upstream(), partOf(ref)} }

// flight is one fetch of one digest, on behalf of everyone who wants it.
type flight struct {
	ref     oci.Ref // of who asked first
	entry   *entry  // what it becomes when it lands; until then it counts the readers
	pulse   *call.Pulse
	started time.Time
	refund  func()        // gives back the pull that was taken for it
	budget  *spool.Budget // for parts that readers get ahead of the spool

	// Guarded by Cache.mu.
	waiters    map[waiter]int // those that wait for it or read it, and how often
	queued     bool           // it waits for its turn
	turn       bool           // it may fill
	background bool           // no client waited for it when it got its turn
	called     chan struct{}  // closed when it is no longer queued
	filling    *spool.Spool   // that is written; nil before its turn

	// ctx ends what is fetched; cancel ends ctx.
	ctx    context.Context
	cancel context.CancelFunc

	// opened is closed when the fields below are set: the upstream has responded,
	// or failed to.
	opened   chan struct{}
	err      error
	result   oci.Result
	source   *oci.Content      // the upstream's
	manifest *manifest         // what was fetched, if it is one
	spool    *spool.Spool      // nil when the content bypasses the cache
	handoff  chan *oci.Content // then it holds source for the first who takes it
}

// flightContext returns the context of a flight for ref, for the client of client.
func (c *Cache) flightContext(client context.Context, ref oci.Ref) context.Context {
	ctx := oci.Inherit(c.runner.Context(), client)
	if c.opts.Hooks.FlightBegins != nil {
		ctx = c.opts.Hooks.FlightBegins(ctx, client, ref)
	}
	return ctx
}

// newFlight returns a flight for ref that has not started, with a context of
// flightContext or the runner's.
func (c *Cache) newFlight(ctx context.Context, ref oci.Ref, refund func()) *flight {
	f := &flight{
		ref: ref, entry: &entry{digest: ref.Digest()}, refund: refund, pulse: call.NewPulse(), started: time.Now(),
		opened: make(chan struct{}), called: make(chan struct{}), waiters: make(map[waiter]int, 1),
	}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// start starts f. The caller holds mu, and has found that the runner has not
// stopped.
func (c *Cache) start(f *flight) {
	c.flights.inFlight[keyOf(f.ref)] = f
	f.budget = c.budgetOf(f.ref)
	c.stats.Fills++
	c.runner.Go(func() { (&fill{cache: c, flight: f}).run() })
}

// end ends f for all who come now; a manifest they find in memory. The caller holds
// mu.
func (c *Cache) end(f *flight) {
	delete(c.flights.inFlight, keyOf(f.ref))
	c.stats.Fills--
	if f.manifest != nil {
		c.hot.add(f.ref.Digest(), *f.manifest)
		c.hot.noteStored(f.ref, c.blobs.get(f.ref.Digest()).serves(f.ref))
	}
}

// hasResult reports whether result is known.
func (f *flight) hasResult() bool { return f.isOpened() && f.err == nil }

// isOpened reports whether the fields below opened may be read.
func (f *flight) isOpened() bool {
	select {
	case <-f.opened:
		return true
	default:
		return false
	}
}

// serves reports whether what f has fetched answers a request for ref.
func (f *flight) serves(ref oci.Ref) bool { return f.manifest == nil || f.manifest.appliesTo(ref) }

// open releases the waiters: the content can be read from s.
func (f *flight) open(s *spool.Spool, size int64) {
	f.result = f.source.Result
	f.result.Source, f.result.Size = f.ref, size
	if f.result.Via != oci.Shared && f.result.Via != oci.Peer {
		f.result.Via = oci.Fill
	}
	if f.ref.Kind() == oci.Blob {
		f.result.MediaType = ""
	}
	f.spool = s
	close(f.opened)
}

// fail releases the waiters with err.
func (f *flight) fail(err error) {
	f.err = err
	close(f.opened)
}

// flights are the fetches in flight and whose turn it is. Guarded by Cache.mu.
type flights struct {
	inFlight map[flightKey]*flight
	turns    turns
}

func newFlights(l Limits) *flights {
	return &flights{inFlight: make(map[flightKey]*flight), turns: newTurns(l)}
}

// of returns the flight for ref, or nil.
func (s *flights) of(ref oci.Ref) *flight { return s.inFlight[keyOf(ref)] }

// fetched returns the result of the flight for ref, if there is one that has
// fetched it.
func (s *flights) fetched(ref oci.Ref) (oci.Result, bool) {
	if f := s.of(ref); f != nil && f.hasResult() && f.serves(ref) {
		return f.result, true
	}
	return oci.Result{}, false
}

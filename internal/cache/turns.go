package cache

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
	"mirrord/internal/oci"
)

const (
	// DefaultMaxFills is how many blobs are filled at once where MaxFills is 0.
	DefaultMaxFills = 32

	// idleAfter is how long a fill that waits for its turn keeps its connection,
	// which would have to be opened again.
	idleAfter = 5 * time.Second
)

// turns decides which fill may run next. Fills queue by the client that waits for
// them and the upstream that they come from, and the queues take turns: a client
// that asks for hundreds of blobs delays itself. A queue is as long as the requests
// that its client has in flight, because a fill without waiters leaves it. Fills that no
// client waits for come after all others, and take no more than a quarter of the turns.
// Guarded by Cache.mu.
type turns struct {
	all        int            // turns
	free       int            // those that are not taken; negative after there were more
	most       map[string]int // by upstream: turns that its fills may take at once; no entry: all
	running    map[string]int // by upstream: turns that its fills have taken
	background map[string]int // by upstream: those of them that no client waited for
	queues     map[queueKey][]*flight
	order      []queueKey // of queues, none of them empty: the first one that may run is next
}

type queueKey struct {
	waiter
	upstream string
}

// waiter waits for a flight: a client, or work in the background.
type waiter struct {
	client     oci.ClientKey // zero: not a client on a network
	background bool
}

func waiterOf(ctx context.Context) waiter {
	if oci.IsBackground(ctx) {
		return waiter{background: true}
	}
	return waiter{client: oci.ClientOf(ctx).Key()}
}

func newTurns(l Limits) turns {
	n := cmp.Or(l.MaxFills, DefaultMaxFills)
	return turns{all: n, free: n, most: l.MaxFillsOf, running: make(map[string]int), background: make(map[string]int), queues: make(map[queueKey][]*flight)}
}

// mayRun reports whether a turn is free for a fill from upstream.
func (t *turns) mayRun(upstream string, background bool) bool {
	most, limited := t.most[upstream]
	if !limited {
		most = t.all
	}
	if background && (t.background[upstream] >= max(1, most/4) || t.inBackground() >= max(1, t.all/4)) {
		return false
	}
	return t.free > 0 && (!limited || t.running[upstream] < most)
}

// inBackground returns how many turns are taken that no client waited for.
func (t *turns) inBackground() (n int) {
	for _, taken := range t.background {
		n += taken
	}
	return n
}

func (t *turns) take(f *flight) {
	t.free--
	t.running[f.ref.Upstream()]++
	f.turn, f.background = true, f.isBackground()
	if f.background {
		t.background[f.ref.Upstream()]++
	}
}

// isBackground reports whether f has waiters, and none of them is a client. The caller
// holds mu.
func (f *flight) isBackground() bool {
	for w := range f.waiters {
		if !w.background {
			return false
		}
	}
	return len(f.waiters) > 0
}

// enter gives f a turn, if there is one, or queues it for each of its waiters. Without
// one it does neither.
func (t *turns) enter(f *flight) {
	switch {
	case t.mayRun(f.ref.Upstream(), f.isBackground()):
		t.take(f)
	case len(f.waiters) > 0:
		f.queued = true
		for w := range f.waiters {
			t.push(w, f)
		}
	}
}

func (t *turns) push(w waiter, f *flight) {
	key := queueKey{w, f.ref.Upstream()}
	if t.queues[key] == nil {
		t.order = append(t.order, key)
	}
	t.queues[key] = append(t.queues[key], f)
}

// remove takes f out of the queue of w.
func (t *turns) remove(w waiter, f *flight) {
	key := queueKey{w, f.ref.Upstream()}
	t.queues[key] = slices.DeleteFunc(t.queues[key], func(other *flight) bool { return other == f })
	if len(t.queues[key]) == 0 {
		delete(t.queues, key)
		t.order = slices.DeleteFunc(t.order, func(other queueKey) bool { return other == key })
	}
}

// call ends the wait of f, which has a turn or goes without.
func (t *turns) call(f *flight) {
	for w := range f.waiters {
		t.remove(w, f)
	}
	f.queued = false
	close(f.called)
}

// pass ends the turn of f and gives it to the next fill that may run.
func (t *turns) pass(f *flight) {
	f.turn = false
	t.free++
	t.running[f.ref.Upstream()]--
	if f.background {
		t.background[f.ref.Upstream()]--
	}
	t.callNext()
}

// resize changes how many turns there are, and calls those who may have one now.
func (t *turns) resize(l Limits) {
	n := cmp.Or(l.MaxFills, DefaultMaxFills)
	t.free += n - t.all
	t.all, t.most = n, l.MaxFillsOf
	for t.callNext() {
	}
}

// callNext calls the fill whose turn it is, and reports whether there was one.
func (t *turns) callNext() bool {
	i := t.firstOf(false)
	if i < 0 {
		i = t.firstOf(true)
	}
	if i < 0 {
		return false
	}
	key := t.order[i]
	t.order = append(slices.Delete(t.order, i, i+1), key)
	next := t.queues[key][0]
	t.take(next)
	t.call(next)
	return true
}

// firstOf returns the first queue that may run, of clients or in the background, or -1.
func (t *turns) firstOf(background bool) int {
	return slices.IndexFunc(t.order, func(key queueKey) bool {
		return key.background == background && t.mayRun(key.upstream, background)
	})
}

// join counts the client behind ctx among the waiters of f, until leave. The caller
// holds mu.
func (s *flights) join(ctx context.Context, f *flight) {
	w := waiterOf(ctx)
	f.waiters[w]++
	if !f.queued || f.waiters[w] > 1 {
		return
	}
	s.turns.push(w, f)
	if s.turns.free > 0 { // the first client of a fill that waited in the background
		s.turns.callNext()
	}
}

// leave ends join. A fill without waiters is dropped, unless it has had its turn:
// then it is completed.
func (c *Cache) leave(ctx context.Context, f *flight) {
	w := waiterOf(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters[w]--; f.waiters[w] > 0 {
		return
	}
	delete(f.waiters, w)
	if !f.queued {
		return
	}
	c.flights.turns.remove(w, f)
	if len(f.waiters) == 0 {
		c.flights.turns.call(f)
		c.end(f) // the next client starts another
	}
}

// awaitTurn waits until f, whose source is open, may fill s, and reports false when
// its last waiter leaves before that. Waiters have their response meanwhile, if the
// size is known: containerd gives up after 30 s without one. A manifest is small
// and does not queue behind layers.
func (c *Cache) awaitTurn(f *flight, s *spool.Spool) bool {
	if f.ref.Kind() == oci.Manifest {
		return true
	}
	turn, queued := c.enterQueue(f)
	if !queued {
		return turn
	}
	if f.source.Size > 0 {
		f.open(s, f.source.Size)
	}
	if !c.awaitCall(f, idleAfter) {
		if body, ok := oci.Unverified(f.source.Body).(oci.Idler); ok {
			body.Idle()
		}
		c.awaitCall(f, call.Endless)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.queued { // the mirror ends, as reading the upstream's body will show
		c.flights.turns.call(f)
		return true
	}
	return f.turn
}

// enterQueue gives f a turn or queues it. A flight without waiters ends.
func (c *Cache) enterQueue(f *flight) (turn, queued bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights.turns.enter(f)
	if !f.turn && !f.queued {
		c.end(f)
	}
	return f.turn, f.queued
}

// awaitCall waits until f is called, no longer than patience if that is not
// negative, and reports whether there is nothing more to wait for.
func (c *Cache) awaitCall(f *flight, patience time.Duration) bool {
	var over <-chan time.Time
	if patience >= 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-f.called:
	case <-c.runner.Context().Done():
	case <-over:
		return false
	}
	return true
}

// endTurn gives the turn of f, if it has one, to the next.
func (c *Cache) endTurn(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.turn {
		c.flights.turns.pass(f)
	}
}

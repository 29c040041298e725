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
// that its client has in flight, because a fill without waiters leaves it. Guarded
// by Cache.mu.
type turns struct {
	all     int            // turns
	free    int            // those that are not taken; negative after there were more
	most    map[string]int // by upstream: turns that its fills may take at once; no entry: all
	running map[string]int // by upstream: turns that its fills have taken
	queues  map[queueKey][]*flight
	order   []queueKey // of queues, none of them empty: the first one that may run is next
}

type queueKey struct {
	client   oci.ClientKey // zero: not a client on a network
	upstream string
}

func newTurns(l Limits) turns {
	n := cmp.Or(l.MaxFills, DefaultMaxFills)
	return turns{all: n, free: n, most: l.MaxFillsOf, running: make(map[string]int), queues: make(map[queueKey][]*flight)}
}

// mayRun reports whether a turn is free for a fill from upstream.
func (t *turns) mayRun(upstream string) bool {
	most, limited := t.most[upstream]
	return t.free > 0 && (!limited || t.running[upstream] < most)
}

func (t *turns) take(f *flight) {
	t.free--
	t.running[f.ref.Upstream()]++
	f.turn = true
}

// enter gives f a turn, if there is one, or queues it for each client that waits for
// it. Without such a client it does neither.
func (t *turns) enter(f *flight) {
	switch {
	case t.mayRun(f.ref.Upstream()):
		t.take(f)
	case len(f.waiters) > 0:
		f.queued = true
		for client := range f.waiters {
			t.push(client, f)
		}
	}
}

func (t *turns) push(client oci.ClientKey, f *flight) {
	key := queueKey{client, f.ref.Upstream()}
	if t.queues[key] == nil {
		t.order = append(t.order, key)
	}
	t.queues[key] = append(t.queues[key], f)
}

// remove takes f out of the queue of client.
func (t *turns) remove(client oci.ClientKey, f *flight) {
	key := queueKey{client, f.ref.Upstream()}
	t.queues[key] = slices.DeleteFunc(t.queues[key], func(other *flight) bool { return other == f })
	if len(t.queues[key]) == 0 {
		delete(t.queues, key)
		t.order = slices.DeleteFunc(t.order, func(other queueKey) bool { return other == key })
	}
}

// call ends the wait of f, which has a turn or goes without.
func (t *turns) call(f *flight) {
	for client := range f.waiters {
		t.remove(client, f)
	}
	f.queued = false
	close(f.called)
}

// pass ends the turn of f and gives it to the next fill that may run.
func (t *turns) pass(f *flight) {
	f.turn = false
	t.free++
	t.running[f.ref.Upstream()]--
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
	i := slices.IndexFunc(t.order, func(key queueKey) bool { return t.mayRun(key.upstream) })
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

// join counts the client behind ctx among the waiters of f, until leave. The caller
// holds mu.
func (s *flights) join(ctx context.Context, f *flight) {
	client := oci.ClientOf(ctx).Key()
	f.waiters[client]++
	if f.queued && f.waiters[client] == 1 {
		s.turns.push(client, f)
	}
}

// leave ends join. A fill without waiters is dropped, unless it has had its turn:
// then it is completed.
func (c *Cache) leave(ctx context.Context, f *flight) {
	client := oci.ClientOf(ctx).Key()
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters[client]--; f.waiters[client] > 0 {
		return
	}
	delete(f.waiters, client)
	if !f.queued {
		return
	}
	c.flights.turns.remove(client, f)
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

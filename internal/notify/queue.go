package notify

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxWaiting bounds the events that wait for one target.
const maxWaiting = 256

// Outcome is how the delivery of an event has ended. The set is closed.
type Outcome string

const (
	Delivered Outcome = "delivered"
	Refused   Outcome = "refused" // by a response that another attempt would not change
	Failed    Outcome = "failed"  // after all attempts
)

// queue has the events that wait for a target, the oldest first.
type queue struct {
	name   string
	target atomic.Pointer[Target]
	wake   chan struct{} // has one when there may be something to deliver

	failing bool // used by its worker only

	mu         sync.Mutex // guards all below; no I/O happens under it
	waiting    []message  // the first is being delivered
	dropped    int64
	deliveries map[Outcome]int64
}

func newQueue(name string) *queue {
	return &queue{name: name, wake: make(chan struct{}, 1), deliveries: map[Outcome]int64{Delivered: 0, Refused: 0, Failed: 0}}
}

// put adds a message. When too many wait, the oldest that is not being delivered is dropped.
func (q *queue) put(m message) {
	q.mu.Lock()
	if len(q.waiting) == maxWaiting {
		q.waiting = append(q.waiting[:1], q.waiting[2:]...)
		q.dropped++
	}
	q.waiting = append(q.waiting, m)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // the worker has not looked yet
	}
}

// first returns the message that is next.
func (q *queue) first() (message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return message{}, false
	}
	return q.waiting[0], true
}

// done removes the first message, whose delivery has ended so.
func (q *queue) done(o Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = q.waiting[1:]
	q.deliveries[o]++
}

func (q *queue) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{Target: q.name, Deliveries: maps.Clone(q.deliveries), Dropped: q.dropped, Waiting: len(q.waiting)}
}

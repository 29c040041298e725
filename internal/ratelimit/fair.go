package ratelimit

import (
	"container/heap"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// fairLine shares a number of bytes a second evenly between the clients that want them
// (start-time fair queueing). A share is ordered by the bytes that it has had; the
// least comes next. Methods may be called concurrently.
type fairLine struct {
	rate  float64 // bytes a second
	burst float64 // bytes that may be sent at once after a pause
	lag   float64 // bytes that a share may be behind the others and still catch up

	mu      sync.Mutex // guards all below; nothing waits under it
	shares  map[oci.ClientKey]*share
	waiting waitingShares
	had     float64 // by the share that was served last
	credit  float64 // bytes that may be sent now; below 0 while those that were sent are on the line
	counted time.Time
	armed   bool // serve runs when there is credit again
}

// share is that of one client. It is waiting while it has turns.
type share struct {
	had   float64
	turns []*turn
	index int // in waitingShares
}

// turn is a piece that waits to be sent.
type turn struct {
	bytes float64
	come  chan struct{}
}

// newFairLine returns a line for pieces of that size at most.
func newFairLine(perSecond int64, burst, piece int) *fairLine {
	// A client with a single connection asks for its next piece only when the last one
	// is written, and is a little late each time.
	const lagPieces = 4
	return &fairLine{
		rate: float64(perSecond), burst: float64(burst), lag: lagPieces * float64(piece),
		shares: make(map[oci.ClientKey]*share), credit: float64(burst), counted: time.Now(),
	}
}

// wait returns when n bytes may be sent to client, and fails when ctx ends.
func (l *fairLine) wait(ctx context.Context, client oci.ClientKey, n int) error {
	t := &turn{bytes: float64(n), come: make(chan struct{})}
	s := l.join(client, t)
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
		l.leave(s, t)
		return context.Cause(ctx)
	}
}

func (l *fairLine) join(client oci.ClientKey, t *turn) *share {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.share(client)
	if s.turns = append(s.turns, t); len(s.turns) == 1 {
		s.had = max(s.had, l.had-l.lag) // what it did not want before is lost
		heap.Push(&l.waiting, s)
	}
	l.serve()
	return s
}

// share returns the share of client. Those that have nothing to wait for are forgotten
// when there are many: they lose what they had more than others.
func (l *fairLine) share(client oci.ClientKey) *share {
	if s, ok := l.shares[client]; ok {
		return s
	}
	if len(l.shares) >= maxClients {
		maps.DeleteFunc(l.shares, func(_ oci.ClientKey, s *share) bool { return len(s.turns) == 0 })
	}
	s := new(share)
	l.shares[client] = s
	return s
}

// leave gives up a turn that may have come in the meantime.
func (l *fairLine) leave(s *share, t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(s.turns, t)
	if i < 0 {
		return
	}
	if s.turns = slices.Delete(s.turns, i, i+1); len(s.turns) == 0 {
		heap.Remove(&l.waiting, s.index)
	}
}

// serve lets the turns come for which there is credit. The last one may take more than
// there is. The caller holds mu.
func (l *fairLine) serve() {
	now := time.Now()
	l.credit = min(l.burst, l.credit+l.rate*now.Sub(l.counted).Seconds())
	l.counted = now
	for l.credit > 0 && len(l.waiting) > 0 {
		l.serveOne(l.waiting[0])
	}
	if len(l.waiting) == 0 || l.armed {
		return
	}
	l.armed = true
	const rounding = time.Microsecond
	time.AfterFunc(time.Duration(-l.credit/l.rate*float64(time.Second))+rounding, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.armed = false
		l.serve()
	})
}

// serveOne lets the next turn of the share come that is first in line.
func (l *fairLine) serveOne(s *share) {
	t := s.turns[0]
	s.turns = s.turns[1:]
	l.had = max(l.had, s.had)
	s.had += t.bytes
	l.credit -= t.bytes
	if len(s.turns) == 0 {
		heap.Pop(&l.waiting)
	} else {
		heap.Fix(&l.waiting, s.index)
	}
	close(t.come)
}

// waitingShares is a heap, the share that has had the least first.
type waitingShares []*share

func (w waitingShares) Len() int           { return len(w) }
func (w waitingShares) Less(i, j int) bool { return w[i].had < w[j].had }
func (w waitingShares) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waitingShares) Push(s any) {
	s.(*share).index = len(*w)
	*w = append(*w, s.(*share))
}

// Pop implements heap.Interface.
func (w *waitingShares) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

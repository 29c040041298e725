package notify

import (
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mirrord/internal/oci"
)

// Target is a webhook.
type Target struct {
	Name       string // unique; the only thing of a target in logs and metrics
	URL        string // may have secrets
	On         []Type
	Tag        func(oci.Ref) bool // of which tags TagMoved is sent; nil: of all
	SecretFile string             // as ReadSecret reads it, for each attempt; empty: not signed

	HeadersFile string                         // as ReadHeaders reads it, for each attempt; empty: none
	Roots       func() (*x509.CertPool, error) // called for each attempt; nil: those of the system
}

func (t Target) wants(e Event) bool {
	return slices.Contains(t.On, e.Type) && (e.Type != TagMoved || t.Tag == nil || t.Tag(e.Ref))
}

// Hooks report what becomes of deliveries. Each may be nil, and must not block.
type Hooks struct {
	Failing     func(target string, err error, again bool) // deliveries have begun to fail, reported once; again: the event is tried again
	Recovered   func(target string)                        // and succeed again
	Undelivered func(target string, n int)                 // events are dropped, because the target is removed or the mirror ends
}

// Options of a Notifier.
type Options struct {
	Source string // of the events, a reference to this mirror
	Client *http.Client
	Hooks  Hooks
}

// Notifier delivers events. New makes one; its methods may be called concurrently.
type Notifier struct {
	opts    Options
	targets atomic.Pointer[[]*queue]
	mu      sync.Mutex    // held by Set
	changed chan struct{} // has one when Run must look at targets again
}

// New returns a Notifier without targets. It starts nothing: call Run.
func New(o Options) *Notifier {
	n := &Notifier{opts: o, changed: make(chan struct{}, 1)}
	n.targets.Store(new([]*queue))
	return n
}

// Set replaces the targets. One whose name stays keeps its events and counters.
func (n *Notifier) Set(targets []Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := *n.targets.Load()
	queues := make([]*queue, len(targets))
	for i, t := range targets {
		if at := slices.IndexFunc(old, func(q *queue) bool { return q.name == t.Name }); at >= 0 {
			queues[i] = old[at]
		} else {
			queues[i] = newQueue(t.Name)
		}
		queues[i].target.Store(&t)
	}
	n.targets.Store(&queues)
	select {
	case n.changed <- struct{}{}:
	default: // Run has not looked yet
	}
}

// Targets returns the names of the targets.
func (n *Notifier) Targets() []string {
	names := []string{}
	for _, q := range *n.targets.Load() {
		names = append(names, q.name)
	}
	return names
}

// Emit delivers e to those who want it, later. It does no I/O and costs next to nothing
// when nobody does.
func (n *Notifier) Emit(e Event) {
	var m message
	for _, q := range *n.targets.Load() {
		if !q.target.Load().wants(e) {
			continue
		}
		if m.body == nil {
			var err error
			if m, err = newMessage(n.opts.Source, e); err != nil {
				panic(err) // plain fields always marshal
			}
		}
		q.put(m)
	}
}

// Stats are those of a target.
type Stats struct {
	Target     string
	Deliveries map[Outcome]int64 // has every outcome
	Dropped    int64             // without an attempt, because too many waited
	Waiting    int
}

// Stats returns those of all targets.
func (n *Notifier) Stats() []Stats {
	var all []Stats
	for _, q := range *n.targets.Load() {
		all = append(all, q.stats())
	}
	return all
}

// flushTime is how long what waits may take after the end of Run's context.
const flushTime = 3 * time.Second

// Run delivers until ctx ends, and then for at most three seconds what waits. Run once.
func (n *Notifier) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	running := make(map[*queue]context.CancelFunc)
	var workers sync.WaitGroup
	for ended := false; !ended; {
		queues := *n.targets.Load()
		for _, q := range queues {
			if running[q] == nil {
				own, cancel := context.WithCancel(work)
				running[q] = cancel
				workers.Go(func() { n.deliverAll(own, ctx.Done(), q) })
			}
		}
		for q, cancel := range running {
			if !slices.Contains(queues, q) {
				cancel()
				delete(running, q)
			}
		}
		select {
		case <-n.changed:
		case <-ctx.Done():
			ended = true
		}
	}
	defer time.AfterFunc(flushTime, stop).Stop()
	workers.Wait()
	return nil
}

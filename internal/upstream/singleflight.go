package upstream

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"
)

// doShared returns what ask returns, which is called once for all callers that wait
// for key in g. It has tokenTime; a caller that leaves does not cancel it for the
// others.
func doShared[A any](ctx context.Context, g *singleflight.Group, key string, ask func(context.Context) (A, error)) (A, error) {
	flight := g.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTime)
		defer cancel()
		return ask(ctx)
	})
	select {
	case result := <-flight:
		return result.Val.(A), result.Err
	case <-ctx.Done():
		var none A
		return none, context.Cause(ctx)
	}
}

// waiters are the callers that wait for an authorization. The upstream's progress is
// reported to all of them, because a distant upstream is not a silent one. It may be
// used concurrently; the zero value is empty.
type waiters struct {
	mu     sync.Mutex // guards all below; not held while one is told
	last   int
	notify map[int]func()
}

// add adds a progress function until the returned function is called; nil adds
// nothing.
func (w *waiters) add(notify func()) (remove func()) {
	if notify == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify == nil {
		w.notify = make(map[int]func())
	}
	w.last++
	id := w.last
	w.notify[id] = notify
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.notify, id)
	}
}

func (w *waiters) notifyAll() {
	w.mu.Lock()
	all := slices.Collect(maps.Values(w.notify))
	w.mu.Unlock()
	for _, notify := range all {
		notify()
	}
}

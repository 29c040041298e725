package upstream

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"
)

// share returns what ask returns, which is called once for all callers that wait
// for key in g. It has tokenTime, and no caller that leaves ends it for the others.
func share[A any](ctx context.Context, g *singleflight.Group, key string, ask func(context.Context) (A, error)) (A, error) {
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

// waiters are those who wait for an authorization. Each hears of the upstream's
// progress, whoever has asked: a distant upstream is not a silent one. It may be
// used concurrently; its zero value has none.
type waiters struct {
	mu   sync.Mutex // guards all below; not held while one is told
	last int
	told map[int]func()
}

// add makes told one of them until the returned function is called. A nil told
// wants to hear nothing.
func (w *waiters) add(told func()) (remove func()) {
	if told == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		w.told = make(map[int]func())
	}
	w.last++
	id := w.last
	w.told[id] = told
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.told, id)
	}
}

func (w *waiters) tell() {
	w.mu.Lock()
	all := slices.Collect(maps.Values(w.told))
	w.mu.Unlock()
	for _, told := range all {
		told()
	}
}

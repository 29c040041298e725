package cache

import (
	"context"
	"time"

	"mirrord/internal/oci"
)

// question is one question to the upstream, on behalf of all who want to know.
type question[A any] struct {
	pulse *pulse
	done  chan struct{} // closed when the fields below are set
	said  A
	err   error
}

// checkTime ends a question, well below the 30 s after which containerd gives up.
const checkTime = 20 * time.Second

// ask returns the question about key that is under way, or lets put find out;
// then, when not nil, runs after everybody has been answered. The caller holds
// mu.
func ask[K comparable, A any](c *Cache, under map[K]*question[A], key K, put func(context.Context) (A, error), then func()) (*question[A], error) {
	if q := under[key]; q != nil {
		return q, nil
	}
	if c.closed {
		return nil, errClosed()
	}
	q := &question[A]{pulse: newPulse(), done: make(chan struct{})}
	under[key] = q
	c.running.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, checkTime)
		defer cancel()
		q.said, q.err = put(oci.WithProgress(ctx, q.pulse.beat))
		c.mu.Lock()
		delete(under, key)
		c.mu.Unlock()
		close(q.done)
		if then != nil {
			then()
		}
	})
	return q, nil
}

// wait returns the answer, or fails as pulse.wait does.
func (q *question[A]) wait(ctx context.Context, silence time.Duration) (A, error) {
	if err := q.pulse.wait(ctx, q.done, silence); err != nil {
		var none A
		return none, err
	}
	return q.said, q.err
}

// resolveDigest asks the upstream about content that is not kept.
func (c *Cache) resolveDigest(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	c.mu.Lock()
	if err := c.recall(ref); err != nil {
		c.mu.Unlock()
		return oci.Result{}, err
	}
	q, err := ask(c, c.checks, ref, func(ctx context.Context) (oci.Result, error) {
		answer, err := c.Next.Resolve(ctx, ref)
		if err == nil {
			answer, err = c.describe(ref, answer)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.noteMissing(ref, err)
		return answer, err
	}, nil)
	c.mu.Unlock()
	if err != nil {
		return oci.Result{}, err
	}
	return q.wait(ctx, endless)
}

package cache

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

const (
	scrubRate = 16 << 20    // bytes a second that a scrub reads at most
	scrubIdle = time.Minute // which a pass takes at least
)

// scrub holds the directory against the index and then, unless it is off,
// hashes all that is kept, again and again, so that one pass takes c.opts.Scrub. Who
// was hashed longest ago comes first, so a pass that a restart ends is gone on
// with.
func (c *Cache) scrub(ctx context.Context) {
	limit := rate.NewLimiter(scrubRate, copyBuffer)
	for {
		begun := time.Now()
		c.reconcile(ctx)
		if c.opts.Scrub <= 0 || ctx.Err() != nil {
			return
		}
		c.scrubAll(ctx, limit)
		sleep(ctx, scrubIdle-time.Since(begun))
	}
}

func (c *Cache) scrubAll(ctx context.Context, limit *rate.Limiter) {
	all, total := c.leastProven()
	for _, s := range all {
		begun := time.Now()
		if err := c.prove(ctx, s.entry, limit); ctx.Err() != nil {
			return
		} else if err == nil {
			c.countScrubbed(s.entry)
		}
		if s.verified.IsZero() {
			continue // what nobody has ever hashed does not wait
		}
		share := float64(s.entry.size) / float64(total)
		sleep(ctx, time.Duration(share*float64(c.opts.Scrub))-time.Since(begun))
	}
}

// scrubbed is an entry and when it was verified before the pass.
type scrubbed struct {
	entry    *entry
	verified time.Time
}

// leastProven returns what is kept, that first which was hashed longest ago,
// and its bytes, which are never 0.
func (c *Cache) leastProven() (all []scrubbed, total int64) {
	c.mu.Lock()
	all = make([]scrubbed, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, scrubbed{e, e.verified})
		total += e.size
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b scrubbed) int {
		return cmp.Or(a.verified.Compare(b.verified), cmp.Compare(a.entry.digest, b.entry.digest))
	})
	return all, max(total, 1)
}

func (c *Cache) countScrubbed(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Scrubbed++
	c.stats.ScrubbedBytes += e.size
}

// sleep waits, if d is positive, until it has passed or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

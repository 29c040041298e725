package cache

import (
	"context"
	"time"
)

// Tidied is what Tidy has done. Sizes are in bytes.
type Tidied struct {
	Reconciliation
	Parts        int // unfinished downloads that were too old to be resumed
	PartBytes    int64
	Evicted      int64 // blobs over the limits
	EvictedBytes int64
}

// Tidy does now what Run does at its start and from time to time: it reconciles the
// directory with the index, removes unfinished fills that are too old, and evicts what is
// over the limits. It fails when ctx or the cache ends, or the directory cannot be read
// whole. It may be called concurrently.
func (c *Cache) Tidy(ctx context.Context) (Tidied, error) {
	ctx, end, err := c.working(ctx)
	if err != nil {
		return Tidied{}, err
	}
	defer end()
	var tidied Tidied
	c.mu.Lock()
	before := c.stats
	old := c.leaveParts(c.parts.takeBefore(time.Now().Add(-partAge))...)
	c.mu.Unlock()
	for _, p := range old {
		tidied.Parts++
		tidied.PartBytes += p.written
	}
	c.partDir.removeLeaving(old)
	tidied.Reconciliation, err = c.walk(ctx)
	c.trim()
	c.mu.Lock()
	tidied.Evicted, tidied.EvictedBytes = c.stats.Evictions-before.Evictions, c.stats.EvictedBytes-before.EvictedBytes
	c.mu.Unlock()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return tidied, err
}

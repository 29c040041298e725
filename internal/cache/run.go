package cache

import (
	"context"
	"time"

	"mirrord/internal/oci"
)

const (
	flushEvery = 15 * time.Second // so a kill loses less than half a minute of recency
	mendEvery  = 10 * time.Second
	tendEvery  = 30 * time.Second
)

// Run works for the cache until ctx ends: it holds the directory against the
// index, hashes what is kept, writes recency, keeps the disk within its limits
// and finds out whether what has failed works again. Then it ends the fills,
// waits for them and writes what the index does not know yet. Run once.
func (c *Cache) Run(ctx context.Context) error {
	defer c.shutDown()
	c.running.Go(func() { c.scrub(c.ctx) })
	flush, mend, tend := time.NewTicker(flushEvery), time.NewTicker(mendEvery), time.NewTicker(tendEvery)
	defer flush.Stop()
	defer mend.Stop()
	defer tend.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-flush.C:
			c.flush()
		case <-mend.C:
			c.mend()
		case <-tend.C:
			c.tend()
		}
	}
}

func (c *Cache) shutDown() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	c.flush()
	c.syncParts()
}

// tend drops what is too old and makes room when the disk runs short.
func (c *Cache) tend() {
	now := time.Now()
	c.mu.Lock()
	parts := c.dropPartsBefore(now.Add(-partAge))
	var old []oci.Ref
	for ref, t := range c.tags {
		if now.Sub(t.heard()) > max(c.MaxStale, t.fresh) {
			delete(c.tags, ref)
			old = append(old, ref)
		}
	}
	c.mu.Unlock()
	c.removeDropped(parts)
	if len(old) > 0 {
		c.noteIndex(c.tellTags(old...))
	}
	c.trim()
}

// trim evicts what is over the limits, if they were lowered or something else
// filled the disk. Where the disk fails that makes no room.
func (c *Cache) trim() {
	if c.inTrouble(DiskTrouble) {
		return
	}
	(&room{cache: c, metadata: true}).grow(0)
}

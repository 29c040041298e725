package cache

import (
	"context"
	"time"

	"mirrord/internal/health"
)

const tendEvery = 15 * time.Second // so a kill loses less than half a minute of recency

// Run works for the cache until ctx ends: it compares the directory with the index,
// hashes what is cached, writes recency and keeps the disk within its limits. Then
// it ends the fills, waits for them and writes what the index does not know yet.
// Run once.
func (c *Cache) Run(ctx context.Context) error {
	defer c.shutDown()
	c.runner.Go(func() { newScrubber(c).run(c.runner.Context()) })
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.tend()
		}
	}
}

func (c *Cache) shutDown() {
	c.mu.Lock() // a flight is started only under it, while the runner is not stopped
	c.runner.Stop()
	c.mu.Unlock()
	c.runner.Wait()
	c.recorder.flush()
	c.partDir.sync()
}

// tend writes recency, removes unfinished fills that are too old, and evicts what is
// over the limits.
func (c *Cache) tend() {
	c.recorder.flush()
	c.mu.Lock()
	old := c.leaveParts(c.parts.takeBefore(time.Now().Add(-partAge))...)
	c.mu.Unlock()
	c.partDir.removeLeaving(old)
	c.trim()
}

// trim evicts what is over the limits, if they were lowered or something else filled
// the disk. While the disk fails that frees no space.
func (c *Cache) trim() {
	if !c.health.Failing(health.Disk) {
		(&reservation{cache: c, metadata: true}).grow(0)
	}
}

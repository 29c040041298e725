package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// Removed is what Remove has removed.
type Removed struct {
	Blobs int
	Bytes int64 // of them
	InUse int   // blobs that stay because they are being read, or were used meanwhile
}

// Remove removes the cached blobs of ds, from the index and then from the disk, so that no
// crash leaves a record without a file. What is being read or was used after the moment
// used stays, and so does what is pinned; what is not cached is none. It may be called concurrently, and fails when ctx
// or the cache ends, or while the disk fails: then it is not known what is needed. What it
// has removed by then is returned too.
func (c *Cache) Remove(ctx context.Context, used time.Time, ds ...oci.Digest) (removed Removed, err error) {
	ctx, end, err := c.working(ctx)
	if err != nil {
		return removed, err
	}
	defer end()
	for some := range slices.Chunk(ds, batchFiles) {
		if ctx.Err() != nil {
			return removed, context.Cause(ctx)
		}
		if err := c.health.Degraded()[health.Disk]; err != nil {
			return removed, fmt.Errorf("the disk fails, and nothing more is removed until it recovers: %w", err)
		}
		c.evictor.removeUnused(some, used, &removed)
	}
	return removed, nil
}

// removeUnused removes those of ds that Remove may.
func (v *evictor) removeUnused(ds []oci.Digest, used time.Time, removed *Removed) {
	defer v.lock()()
	c := v.cache
	var gone []victim
	c.mu.Lock()
	for _, d := range ds {
		switch e := c.blobs.get(d); {
		case e == nil || e.pinned:
		case e.readers > 0 || e.used.After(used):
			removed.InUse++
		default:
			removed.Blobs++
			removed.Bytes += e.size
			gone = append(gone, v.condemnEntry(e))
		}
	}
	c.mu.Unlock()
	if len(gone) > 0 {
		v.remove(gone...)
	}
}

// Records returns what is known of all cached blobs, in no order. It looks in memory only,
// and may be called concurrently.
func (c *Cache) Records() []BlobRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]BlobRecord, 0, len(c.blobs.entries))
	for _, e := range c.blobs.entries {
		if e.isVerified() {
			all = append(all, e.record())
		}
	}
	return all
}

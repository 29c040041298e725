package cache

import (
	"context"
	"maps"
	"time"

	"mirrord/internal/oci"
)

// Stats are the figures of a Cache at one moment. Sizes are in bytes; what is not
// called a state counts from the start of the process.
type Stats struct {
	Bytes    int64         // state: of cached blobs
	Pinned   int64         // state: those of them that are not evicted
	Reserved int64         // state: by fills
	MaxBytes int64         // state: the size limit
	MinFree  int64         // state: what the cache leaves free on its file system
	Entries  int           // state: cached blobs
	Oldest   time.Duration // state: since the least recently used blob was used
	Fills    int           // state: fills in flight

	Joined       int64 // requests that joined a fill in flight
	Resumed      int64 // fills that resumed what an earlier one had left
	Failed       int64 // fills that failed
	Evictions    int64
	EvictedBytes int64

	Scrubbed      int64 // blobs that the scrub has hashed and found intact
	ScrubbedBytes int64

	Saved map[string]int64 // by upstream: manifests served without a pull of their own
}

func newStats() Stats { return Stats{Saved: make(map[string]int64)} }

// Stats returns the present figures. It may be called concurrently.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Saved = maps.Clone(s.Saved)
	s.Bytes, s.Reserved, s.MaxBytes = c.blobs.used, c.space.reserved, c.space.maxSize
	s.MinFree, s.Pinned = c.space.minFree, c.blobs.pinned
	s.Entries = len(c.blobs.entries)
	if d, ok := c.blobs.policy.Victim(); ok {
		s.Oldest = time.Since(c.blobs.get(d).used)
	}
	return s
}

// countSaved counts a response with a manifest that another request's pull, now or
// earlier, has paid for. A pull by tag is set against the next response. What no client
// asked for saves nothing. The caller holds mu.
func (c *Cache) countSaved(ctx context.Context, ref oci.Ref) {
	switch upstream := ref.Upstream(); {
	case ref.Kind() != oci.Manifest || oci.IsBackground(ctx):
	case c.pullsByTag[upstream] > 0:
		c.pullsByTag[upstream]--
	default:
		c.stats.Saved[upstream]++
	}
}

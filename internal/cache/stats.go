package cache

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"mirrord/internal/oci"
)

// Stats are the figures of a Cache at one moment. Sizes are in bytes; what is
// not called a state counts from the start of the process.
type Stats struct {
	Bytes    int64         // state: kept blobs
	Reserved int64         // state: promised to fills
	MaxBytes int64         // state: the budget
	Entries  int           // state: kept blobs
	Oldest   time.Duration // state: since the least recently used blob was used
	Fills    int           // state: fills under way

	Joined       int64 // requests that joined a fill under way
	Resumed      int64 // fills that went on with what an earlier one had left
	Failed       int64 // fills that failed
	Evictions    int64
	EvictedBytes int64

	Scrubbed      int64 // blobs that a scrub has hashed and found right
	ScrubbedBytes int64

	Saved map[string]int64 // by upstream: manifests served without a pull of their own
}

func newStats() Stats { return Stats{Saved: make(map[string]int64)} }

// countSaved counts an answer with a manifest that somebody else's pull, now or
// earlier, has paid for. The caller holds mu.
//
// A pull that a check of a tag has cost is set against the next answer.
func (c *Cache) countSaved(ref oci.Ref) {
	switch upstream := ref.Upstream(); {
	case ref.Kind() != oci.Manifest:
	case c.pullsByTag[upstream] > 0:
		c.pullsByTag[upstream]--
	default:
		c.stats.Saved[upstream]++
	}
}

// Stats returns the present figures. It may be called concurrently.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Saved = maps.Clone(s.Saved)
	s.Bytes, s.Reserved, s.MaxBytes = c.used, c.reserved, c.opts.MaxSize
	s.Entries = len(c.entries)
	if d, ok := c.opts.Policy.Victim(); ok {
		s.Oldest = time.Since(c.entries[d].used)
	}
	return s
}

// byAge sorts the least recently used first.
func byAge(records []BlobRecord) {
	slices.SortFunc(records, func(a, b BlobRecord) int {
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Digest, b.Digest))
	})
}

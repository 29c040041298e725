package cache

import (
	"cmp"
	"slices"
	"time"
)

// Stats are the figures of a Cache at one moment. Sizes are in bytes; what is
// not called a state counts from the start of the process.
type Stats struct {
	Bytes    int64         // state: kept blobs
	Reserved int64         // state: promised to fills
	MaxBytes int64         // state: the budget
	Entries  int           // state: kept blobs
	Tags     int           // state: tags whose digest is known
	Oldest   time.Duration // state: since the least recently used blob was used
	Fills    int           // state: fills under way

	Joined       int64 // requests that joined a fill under way
	Resumed      int64 // fills that went on with what an earlier one had left
	Failed       int64 // fills that failed
	Stale        int64 // answers with an older copy of a tag
	Evictions    int64
	EvictedBytes int64
}

// Stats returns the present figures. It may be called concurrently.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes, s.Reserved, s.MaxBytes = c.used, c.reserved, c.MaxSize
	s.Entries, s.Tags = len(c.entries), len(c.tags)
	if d, ok := c.Policy.Victim(); ok {
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

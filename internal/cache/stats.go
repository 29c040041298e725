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
	Tags     int           // state: tags whose digest is known
	Oldest   time.Duration // state: since the least recently used blob was used
	Fills    int           // state: fills under way

	Joined       int64 // requests that joined a fill under way
	Resumed      int64 // fills that went on with what an earlier one had left
	Failed       int64 // fills that failed
	Evictions    int64
	EvictedBytes int64

	Scrubbed      int64 // blobs that a scrub has hashed and found right
	ScrubbedBytes int64

	Stale  map[oci.StaleReason]int64 // answers with an older copy of a tag or list
	Checks map[CheckOutcome]int64    // of tags, upstream
	Saved  map[string]int64          // by upstream: manifests answered without a pull of their own

	Troubles map[Trouble]error // state: what the cache does without, and why
}

// CheckOutcome is what came of asking the upstream about a tag. There are no
// others than these, so it serves as a metric's label.
type CheckOutcome string

const (
	CheckNew     CheckOutcome = "new"     // nothing was known of it
	CheckSame    CheckOutcome = "same"    // it has not moved
	CheckMoved   CheckOutcome = "moved"   // it names something else
	CheckMissing CheckOutcome = "missing" // there is none, or it is not for us
	CheckLimited CheckOutcome = "limited" // the upstream limits requests
	CheckFailed  CheckOutcome = "failed"  // no answer, or none that makes sense
)

func newStats() Stats {
	return Stats{
		Stale:  make(map[oci.StaleReason]int64),
		Checks: make(map[CheckOutcome]int64),
		Saved:  make(map[string]int64),
	}
}

func (c *Cache) countStale(via oci.Via, reason oci.StaleReason) {
	if via == oci.Stale {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.Stale[reason]++
	}
}

// countCheck counts what the upstream said of the tag that t was known of. The
// caller holds mu.
func (c *Cache) countCheck(t *tag, a oci.Result, err error) {
	outcome := CheckMoved
	switch {
	case err != nil && oci.CodeOf(err) == oci.TooManyRequests:
		outcome = CheckLimited
	case err != nil && oci.Temporary(err):
		outcome = CheckFailed
	case err != nil:
		outcome = CheckMissing
	case t == nil:
		outcome = CheckNew
	case t.Latest.Digest == a.Digest:
		outcome = CheckSame
	}
	c.stats.Checks[outcome]++
}

// countSaved counts an answer with a manifest that somebody else's pull, now or
// earlier, has paid for. The caller holds mu.
//
// A pull that a check of a tag has cost is set against the next answer.
func (c *Cache) countSaved(ref oci.Ref) {
	switch upstream := ref.Upstream(); {
	case ref.Kind() != oci.Manifest:
	case c.checkPulls[upstream] > 0:
		c.checkPulls[upstream]--
	default:
		c.stats.Saved[upstream]++
	}
}

// Stats returns the present figures. It may be called concurrently.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Stale, s.Checks, s.Saved = maps.Clone(s.Stale), maps.Clone(s.Checks), maps.Clone(s.Saved)
	s.Troubles = maps.Clone(c.troubles)
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

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

// scrubber reconciles the directory with the index and, unless that is off, hashes
// everything that is cached, again and again.
type scrubber struct {
	cache *Cache
	limit *rate.Limiter
}

func newScrubber(c *Cache) *scrubber { return &scrubber{c, rate.NewLimiter(scrubRate, copyBuffer)} }

// run makes pass after pass, each of which takes Limits.Scrub, until ctx ends.
// What was hashed longest ago comes first, so a pass that a restart ends is
// resumed.
func (s *scrubber) run(ctx context.Context) {
	for {
		begun := time.Now()
		s.cache.reconcile(ctx)
		for s.every() <= 0 && ctx.Err() == nil {
			sleep(ctx, scrubIdle)
		}
		if ctx.Err() != nil {
			return
		}
		s.pass(ctx)
		sleep(ctx, scrubIdle-time.Since(begun))
	}
}

// every is Limits.Scrub.
func (s *scrubber) every() time.Duration { return s.cache.limits.Load().Scrub }

func (s *scrubber) pass(ctx context.Context) {
	all, total := s.leastVerified()
	for _, one := range all {
		begun := time.Now()
		if err := s.cache.verify(ctx, one.entry, s.limit); ctx.Err() != nil {
			return
		} else if err == nil {
			s.count(one.entry)
		}
		if one.verified.IsZero() {
			continue // what was never hashed does not wait
		}
		share := float64(one.entry.size) / float64(total)
		sleep(ctx, time.Duration(share*float64(s.every()))-time.Since(begun))
	}
}

// scrubbed is an entry and when it was verified before the pass.
type scrubbed struct {
	entry    *entry
	verified time.Time
}

// leastVerified returns the entries, that first which was hashed longest ago, and
// their bytes, which are never 0.
func (s *scrubber) leastVerified() (all []scrubbed, total int64) {
	s.cache.mu.Lock()
	all = make([]scrubbed, 0, len(s.cache.blobs.entries))
	for _, e := range s.cache.blobs.entries {
		all = append(all, scrubbed{e, e.verified})
		total += e.size
	}
	s.cache.mu.Unlock()
	slices.SortFunc(all, func(a, b scrubbed) int {
		return cmp.Or(a.verified.Compare(b.verified), cmp.Compare(a.entry.digest, b.entry.digest))
	})
	return all, max(total, 1)
}

func (s *scrubber) count(e *entry) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.stats.Scrubbed++
	s.cache.stats.ScrubbedBytes += e.size
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

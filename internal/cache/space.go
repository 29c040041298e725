package cache

import (
	"math"

	"mirrord/internal/oci"
)

// space is the account of the disk. Guarded by Cache.mu. Sizes are in bytes.
type space struct {
	blobs *blobs
	parts *parts

	maxSize, minFree int64

	reservations map[*reservation]struct{}
	reserved     int64 // by fills
	claimed      int64 // of unfinished fills whose flights have no reservation yet
	leaving      int64 // forgotten, and still on the disk
	open         int64 // of fills that were removed and that clients have open
	noEffect     int64 // evicted for writes which failed all the same; 0: evicting helps
}

func newSpace(o Options, b *blobs, p *parts) *space {
	return &space{blobs: b, parts: p, maxSize: o.Limits.MaxSize, minFree: o.Limits.MinFree, reservations: make(map[*reservation]struct{})}
}

// shortfall returns how many bytes have to go before size more may come: for the
// size limit or for the free-space floor, whichever asks for more. free is what the
// file system has.
func (s *space) shortfall(size, free int64) int64 {
	overLimit := s.blobs.used + s.leaving + s.open + s.reserved + s.claimed + s.parts.bytes() + size - s.maxSize
	return max(overLimit, s.belowFloor(size, free))
}

// belowFloor is shortfall for the free-space floor alone.
func (s *space) belowFloor(size, free int64) int64 { return s.minFree + s.unwritten() + size - free }

// unwritten returns how many of the reserved bytes are still to be written.
func (s *space) unwritten() int64 {
	var n int64
	for r := range s.reservations {
		written := r.resumed
		if r.spool != nil {
			written = r.spool.Written()
		}
		n += r.bytes - written
	}
	return n
}

// outstanding returns how many bytes running fills need beside what they have
// reserved: nothing begins that would take those from them, as it would fail in the
// middle, or they would.
func (s *space) outstanding() int64 {
	var n int64
	for r := range s.reservations {
		n += max(r.size-r.bytes, 0)
	}
	return n
}

// evictable returns how many bytes could be evicted for a fill.
func (s *space) evictable(metadata bool) int64 { return s.blobs.evictable(metadata) + s.parts.bytes() }

// fits reports whether a found file of that size is within the limit.
func (s *space) fits(size int64) bool { return s.blobs.used+s.reserved+size <= s.maxSize }

// admit begins r, the reservation of a fill of d, unless the cache could not hold
// all of it even if it evicted all that it may.
func (s *space) admit(r *reservation, d oci.Digest, manifest bool, free int64) bool {
	r.metadata = s.blobs.isMetadata(d, manifest, r.size)
	need := max(r.size-r.resumed, 0) + s.outstanding()
	if s.shortfall(need, free) > s.evictable(r.metadata)+s.leaving {
		return false
	}
	s.claimed -= r.resumed
	s.reserved += r.resumed
	r.bytes = r.resumed
	s.reservations[r] = struct{}{}
	return true
}

// grow adds size bytes to r.
func (s *space) grow(r *reservation, size int64) {
	s.reserved += size
	r.bytes += size
}

// end ends r.
func (s *space) end(r *reservation) {
	s.reserved -= r.bytes
	delete(s.reservations, r)
}

// free returns the free bytes of the disk, or what cannot be a limit.
func (c *Cache) free() int64 {
	if c.opts.Free == nil {
		return math.MaxInt64 / 2
	}
	free, err := c.opts.Free()
	if err != nil {
		return math.MaxInt64 / 2 // the write will fail
	}
	return free
}

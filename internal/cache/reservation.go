package cache

import (
	"errors"
	"math"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// reservation is the space of one fill. It grows with what the fill writes, so that
// a promised size evicts nothing before its bytes are there. Its owner releases it
// once.
type reservation struct {
	cache    *Cache
	metadata bool         // for a manifest or a config, for which others may be evicted
	size     int64        // of the whole; oci.UnknownSize when it is not known
	bytes    int64        // reserved so far
	resumed  int64        // of them on the disk already, from an earlier fill
	spool    *spool.Spool // whose written bytes fill it; nil until there is one
	written  int64        // bytes on the disk or written through Write
}

const (
	maxReserveStep = 16 << 20 // bytes that are reserved at a time, at most
	reserveSteps   = 64       // and no more than this part of the cache
	unknownShare   = 4        // a fill of unknown size takes at most this part of the cache: it may never end
)

var errNoSpace = errors.New("no space in the cache")

// reserve reserves space for the first bytes of a fill of ref, of which resumed
// bytes are on the disk and claimed; they pass into the reservation. It fails with
// errNoSpace, and evicts nothing, when the cache could not hold all of it now; what
// is claimed stays so then.
func (c *Cache) reserve(ref oci.Ref, size, resumed int64) (*reservation, error) {
	r := &reservation{cache: c, size: size, resumed: resumed, written: resumed}
	if !c.admit(r, ref) {
		c.checkDisk(size)
		return nil, errNoSpace
	}
	if !r.grow(r.step(size - resumed)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.space.claimed += resumed // again
		c.space.end(r)
		return nil, errNoSpace
	}
	return r, nil
}

func (c *Cache) admit(r *reservation, ref oci.Ref) bool {
	if r.size > c.limits.Load().MaxSize {
		return false
	}
	free := c.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.space.admit(r, ref.Digest(), ref.Kind() == oci.Manifest, free)
}

// step returns how many of rest bytes are reserved at once.
func (r *reservation) step(rest int64) int64 {
	return max(min(rest, maxReserveStep, r.cache.limits.Load().MaxSize/reserveSteps), 0)
}

// Write takes len(p) bytes of the reservation, and reserves more when that is used
// up. It fails with errNoSpace when there is none.
func (r *reservation) Write(p []byte) (int, error) {
	r.written += int64(len(p))
	rest := r.size - r.bytes
	if r.size == oci.UnknownSize {
		rest = math.MaxInt64
		if r.written > r.cache.limits.Load().MaxSize/unknownShare {
			return 0, errNoSpace
		}
	}
	need := r.written - r.bytes
	if need > 0 && !r.grow(max(r.step(rest), need)) && !r.grow(need) {
		return 0, errNoSpace
	}
	return len(p), nil
}

// grow reserves size bytes more and evicts for them, batch by batch: others get
// their turn between two.
func (r *reservation) grow(size int64) bool {
	if r.growWithoutEvicting(size) {
		return true
	}
	g := growth{r, size, math.MaxInt64}
	for g.due > 0 {
		if !g.evictBatch() {
			r.cache.checkDisk(g.size)
			return false
		}
	}
	return true
}

// growWithoutEvicting reserves size bytes more if nothing has to be evicted for
// them: it waits for no eviction of others.
func (r *reservation) growWithoutEvicting(size int64) bool {
	c := r.cache
	free := c.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.space.shortfall(size, free) > 0 {
		return false
	}
	c.space.grow(r, size)
	return true
}

// growth is one growth of a reservation, in batches.
type growth struct {
	reservation *reservation
	size        int64 // bytes that are still to be reserved
	due         int64 // bytes that are still to be evicted for them, at most
}

// evictBatch evicts one batch and reserves what that frees. It reports false when
// there is too little to evict.
func (g *growth) evictBatch() bool {
	r, c := g.reservation, g.reservation.cache
	defer c.evictor.lock()()
	free := c.free()
	c.mu.Lock()
	g.due = min(g.due, c.space.shortfall(g.size, free))
	if g.due > c.space.evictable(r.metadata) {
		c.mu.Unlock()
		return false
	}
	gone := c.evictor.condemn(r.metadata, func(b batch) bool { return b.bytes >= g.due || b.files() >= batchFiles })
	ok := g.due <= 0 || gone.files() > 0
	g.due -= gone.bytes
	granted := max(g.size-max(g.due, 0), 0)
	c.space.grow(r, granted)
	g.size -= granted
	c.mu.Unlock()
	c.evictor.evict(gone)
	return ok
}

func (r *reservation) release() {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	r.cache.space.end(r)
}

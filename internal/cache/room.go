package cache

import (
	"errors"
	"math"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// room is the reservation of one fill. It grows with what the fill writes, so
// that a promised size pushes nothing out before its bytes are there. Its owner
// releases it once.
type room struct {
	cache    *Cache
	metadata bool         // for a manifest or a config, which may take the place of others
	size     int64        // of the whole; oci.UnknownSize where nobody knows it
	bytes    int64        // reserved so far
	have     int64        // of them on the disk already, from an earlier fill
	spool    *spool.Spool // whose written bytes take up the room; nil until there is one
	taken    int64        // bytes on the disk or written through Write
}

const (
	maxRoomStep = 16 << 20 // bytes that are reserved at a time, at most
	roomSteps   = 64       // and no more than that part of the cache
	roomShare   = 4        // a fill of unknown size takes no more than that part of the cache: it may never end
)

var errNoRoom = errors.New("no room in the cache")

// reserve makes room for the first bytes of a fill of ref. have of its size bytes
// are on the disk and claimed; they pass into the room. It returns nil, and
// evicts nothing, when the cache could not hold all of it now; what is claimed
// stays so then.
func (c *Cache) reserve(ref oci.Ref, size, have int64) *room {
	r := &room{cache: c, size: size, have: have, taken: have}
	if !c.admit(r, ref) {
		c.checkDisk(size)
		return nil
	}
	if !r.grow(c.roomStep(size - have)) {
		c.turnBack(r)
		return nil
	}
	return r
}

// admit begins the reservation r unless the cache could not hold all of it, even
// if it evicted all that it may.
func (c *Cache) admit(r *room, ref oci.Ref) bool {
	if r.size > c.opts.MaxSize {
		return false
	}
	free := c.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	r.metadata = c.isMetadata(ref.Digest(), ref.Kind() == oci.Manifest, r.size)
	need := max(r.size-r.have, 0) + c.outstanding()
	if c.excess(need, free) > c.evictable(r.metadata)+c.leaving {
		return false
	}
	c.claimed -= r.have
	c.reserved += r.have
	r.bytes = r.have
	c.rooms[r] = struct{}{}
	return true
}

// turnBack ends a reservation that could not grow: what was claimed for it is
// claimed again.
func (c *Cache) turnBack(r *room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed += r.have
	r.releaseLocked()
}

// outstanding returns how many bytes running fills need beside what they have
// reserved: nothing begins that would take those from them, as it would fail in the
// middle, or they would. The caller holds mu.
func (c *Cache) outstanding() int64 {
	var n int64
	for r := range c.rooms {
		n += max(r.size-r.bytes, 0)
	}
	return n
}

// roomStep returns how many of rest bytes are reserved at once.
func (c *Cache) roomStep(rest int64) int64 {
	return max(min(rest, maxRoomStep, c.opts.MaxSize/roomSteps), 0)
}

// Write takes p's length of the room, and more room when that is used up. It
// fails with errNoRoom when there is none.
func (r *room) Write(p []byte) (int, error) {
	r.taken += int64(len(p))
	rest := r.size - r.bytes
	if r.size == oci.UnknownSize {
		rest = math.MaxInt64
		if r.taken > r.cache.opts.MaxSize/roomShare {
			return 0, errNoRoom
		}
	}
	need := r.taken - r.bytes
	if need > 0 && !r.grow(max(r.cache.roomStep(rest), need)) && !r.grow(need) {
		return 0, errNoRoom
	}
	return len(p), nil
}

// grow reserves size bytes more and evicts what is in their way, batch by batch:
// others get their turn between two.
func (r *room) grow(size int64) bool {
	if r.fits(size) {
		return true
	}
	for due := int64(math.MaxInt64); due > 0; {
		var ok bool
		if size, due, ok = r.makeWay(size, due); !ok {
			r.cache.checkDisk(size)
			return false
		}
	}
	return true
}

// fits reserves size bytes more when nothing has to go for them: it waits for
// nobody who evicts.
func (r *room) fits(size int64) bool {
	free := r.cache.free()
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	if r.cache.excess(size, free) > 0 {
		return false
	}
	r.add(size)
	return true
}

// makeWay evicts a batch of what is in the way of size bytes, no more than due,
// and reserves what that makes room for. It returns what is left of both, and
// false when there is too little to evict.
func (r *room) makeWay(size, due int64) (restSize, restDue int64, ok bool) {
	c := r.cache
	defer c.makeAlone()()
	free := c.free()
	c.mu.Lock()
	due = min(due, c.excess(size, free))
	if due > c.evictable(r.metadata) {
		c.mu.Unlock()
		return size, due, false
	}
	gone := c.condemn(r.metadata, func(g condemned) bool { return g.bytes >= due || g.files() >= evictBatch })
	ok = due <= 0 || gone.files() > 0
	due -= gone.bytes
	granted := max(size-max(due, 0), 0)
	r.add(granted)
	c.mu.Unlock()
	c.evict(gone)
	return size - granted, due, ok
}

// add reserves size bytes more. The caller holds mu.
func (r *room) add(size int64) {
	r.cache.reserved += size
	r.bytes += size
}

func (r *room) release() {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	r.releaseLocked()
}

func (r *room) releaseLocked() {
	r.cache.reserved -= r.bytes
	delete(r.cache.rooms, r)
}

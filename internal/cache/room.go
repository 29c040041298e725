package cache

import (
	"context"
	"errors"
	"math"

	"mirrord/internal/oci"
)

// room is a promise of bytes to one fill. Its owner releases it once.
type room struct {
	cache *Cache
	bytes int64
	have  int64  // of them on the disk already, from an earlier fill
	claim int64  // bytes that are counted as claimed until it has grown
	spool *spool // whose written bytes take up the room; nil until there is one
	taken int64  // bytes written through Write
}

// victim is a blob that has been forgotten and whose file is to go.
type victim struct {
	digest oci.Digest
	size   int64
	gone   chan struct{}
}

// reserve makes room for size bytes, have of which are on the disk already, in the
// place of claimed ones, evicting what was least recently used. It returns nil
// when there is none to be made; nothing is claimed then either.
func (c *Cache) reserve(size, have, claimed int64) *room {
	r := &room{cache: c, have: have, claim: claimed}
	if !r.grow(size) {
		return nil
	}
	return r
}

// makeAlone waits until nobody else makes room: what is being evicted is still on
// the disk, and nobody may write in its place yet. It returns what lets the next
// one do so.
func (c *Cache) makeAlone() (done func()) {
	c.making <- struct{}{}
	return func() { <-c.making }
}

// grow makes room for size bytes more.
func (r *room) grow(size int64) bool {
	c := r.cache
	defer c.makeAlone()()
	free := c.free()
	c.mu.Lock()
	c.claimed -= r.claim
	r.claim = 0
	if c.reserved+size > c.MaxSize {
		c.mu.Unlock()
		return false
	}
	have := r.have
	if r.bytes > 0 {
		have = 0 // counted when the room was made
	}
	parts := c.dropParts(c.excess(size, free+have))
	victims, ok := c.choose(c.excess(size, free+have+bytesOf(parts)))
	if ok {
		c.reserved += size
		r.bytes += size
		c.rooms[r] = struct{}{}
	}
	c.mu.Unlock()
	removeParts(parts)
	c.evict(victims)
	if !ok {
		if err := c.roomFor(min(size, probeBytes)); err != nil {
			c.degrade(DiskTrouble, err)
		}
	}
	return ok
}

// free returns the free bytes of the disk, or what cannot be a limit.
func (c *Cache) free() int64 {
	if c.Free == nil {
		return math.MaxInt64 / 2
	}
	free, err := c.Free()
	if err != nil {
		return math.MaxInt64 / 2 // the write will tell
	}
	return free
}

// excess returns how many bytes have to go before size more may come: for the
// budget or for the free-space floor, whichever asks for more. The caller holds
// mu.
func (c *Cache) excess(size, free int64) int64 {
	overBudget := c.used + c.reserved + c.claimed + c.partBytes() + size - c.MaxSize
	return max(overBudget, c.overFloor(size, free))
}

// overFloor is excess for the free-space floor alone. The caller holds mu.
func (c *Cache) overFloor(size, free int64) int64 {
	return c.MinFree + c.unwritten() + size - free
}

// unwritten returns how many of the reserved bytes are still to be written.
// The caller holds mu.
func (c *Cache) unwritten() int64 {
	var n int64
	for r := range c.rooms {
		written := r.have
		if r.spool != nil {
			written = r.spool.progress()
		}
		n += r.bytes - written
	}
	return n
}

// choose forgets the least recently used blobs of at least excess bytes; one
// that is being read stays. It reports false, and forgets nothing, when all
// others together are not enough. The caller holds mu.
func (c *Cache) choose(excess int64) (victims []victim, ok bool) {
	if excess > c.used-c.reading {
		return nil, false
	}
	for excess > 0 {
		d, ok := c.Policy.Victim()
		if !ok {
			return victims, false
		}
		e := c.entries[d]
		if e.readers > 0 {
			c.Policy.Touch(d)
			continue
		}
		victims = append(victims, c.sentence(e))
		excess -= e.size
		c.stats.Evictions++
		c.stats.EvictedBytes += e.size
	}
	return victims, true
}

// sentence forgets e and returns what is to be removed. The caller holds mu.
func (c *Cache) sentence(e *entry) victim {
	v := victim{digest: e.digest, size: e.size, gone: make(chan struct{})}
	c.forget(e.digest)
	c.evicting[e.digest] = v.gone
	return v
}

// evict removes what was chosen.
func (c *Cache) evict(victims []victim) {
	if len(victims) == 0 {
		return
	}
	c.remove(victims)
	for _, v := range victims {
		call2(c.Hooks.Evicted, v.digest, v.size)
	}
}

// remove removes blobs: from the index first, so that no crash leaves a record
// without a file. A file that cannot be removed is adopted by the next start.
func (c *Cache) remove(victims []victim) {
	digests := make([]oci.Digest, len(victims))
	for i, v := range victims {
		digests[i] = v.digest
	}
	c.noteIndex(c.tellIndex(digests...))
	for _, v := range victims {
		if err := c.Store.Remove(context.WithoutCancel(c.ctx), v.digest); err != nil {
			call2(c.Hooks.RemoveFailed, v.digest, err)
			c.degrade(DiskTrouble, err)
		}
		c.mu.Lock()
		if c.evicting[v.digest] == v.gone {
			delete(c.evicting, v.digest)
		}
		c.mu.Unlock()
		close(v.gone)
	}
}

// hold waits until a file of f's digest that is being removed is gone, so that
// the removal cannot hit the new one, and then keeps all others from the file
// until f.letGo. What is kept under the digest is forgotten, but for its type.
func (c *Cache) hold(f *flight) {
	d := f.ref.Digest()
	for {
		c.mu.Lock()
		gone := c.evicting[d]
		if gone == nil {
			break
		}
		c.mu.Unlock()
		<-gone
	}
	defer c.mu.Unlock()
	held := make(chan struct{})
	c.evicting[d] = held
	if old := c.entries[d]; old != nil {
		f.entry.typed = old.typed
		c.forget(d)
	}
	f.letGo = func() {
		delete(c.evicting, d)
		close(held)
	}
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

const (
	roomStep  = 16 << 20 // bytes of room that are asked for at a time when nobody knows the size
	roomShare = 4        // and no more than that part of the cache: it may never end
)

var errNoRoom = errors.New("no room in the cache")

// Write takes p's length of the room, and more room when that is used up. It
// fails with errNoRoom when there is none.
func (r *room) Write(p []byte) (int, error) {
	r.taken += int64(len(p))
	if r.taken > r.cache.MaxSize/roomShare {
		return 0, errNoRoom
	}
	if need := r.taken - r.bytes; need > 0 && !r.grow(max(roomStep, need)) && !r.grow(need) {
		return 0, errNoRoom
	}
	return len(p), nil
}

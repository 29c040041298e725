package cache

import (
	"context"
	"math"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// victim is a blob that has been forgotten and whose file is to go.
type victim struct {
	digest oci.Digest
	size   int64
	gone   chan struct{}
}

// condemned is what has been forgotten to make room and is still on the disk:
// unfinished fills, and blobs.
type condemned struct {
	parts   []part
	victims []victim
	bytes   int64
}

func (g condemned) files() int { return len(g.parts) + len(g.victims) }

// evictBatch is how many files one fill evicts before others get their turn.
const evictBatch = 32

// makeAlone waits until nobody else evicts. It returns what lets the next one do
// so.
func (c *Cache) makeAlone() (done func()) {
	c.evictTurn <- struct{}{}
	return func() { <-c.evictTurn }
}

// free returns the free bytes of the disk, or what cannot be a limit.
func (c *Cache) free() int64 {
	if c.opts.Free == nil {
		return math.MaxInt64 / 2
	}
	free, err := c.opts.Free()
	if err != nil {
		return math.MaxInt64 / 2 // the write will tell
	}
	return free
}

// excess returns how many bytes have to go before size more may come: for the
// budget or for the free-space floor, whichever asks for more. The caller holds
// mu.
func (c *Cache) excess(size, free int64) int64 {
	overBudget := c.used + c.leaving + c.open + c.reserved + c.claimed + c.partBytes() + size - c.opts.MaxSize
	return max(overBudget, c.overFloor(size, free))
}

// overFloor is excess for the free-space floor alone. The caller holds mu.
func (c *Cache) overFloor(size, free int64) int64 {
	return c.opts.MinFree + c.unwritten() + size - free
}

// unwritten returns how many of the reserved bytes are still to be written.
// The caller holds mu.
func (c *Cache) unwritten() int64 {
	var n int64
	for r := range c.rooms {
		written := r.have
		if r.spool != nil {
			written = r.spool.Written()
		}
		n += r.bytes - written
	}
	return n
}

// evictable returns how many bytes could go for a fill: unfinished fills, blobs
// that nobody reads and, for metadata, those of its share too. The caller holds
// mu.
func (c *Cache) evictable(metadata bool) int64 {
	n := c.used - c.reading + c.partBytes()
	if !metadata {
		n -= min(c.metadataUsed, c.metadataShare())
	}
	return n
}

// condemn forgets files until it is enough or nothing is left to forget: the
// oldest unfinished fills, which nobody waits for, and then blobs. Their bytes
// count as leaving until evict has removed them. The caller holds mu, and alone
// makes room.
func (c *Cache) condemn(metadata bool, enough func(condemned) bool) condemned {
	var g condemned
	for !enough(g) {
		if p, ok := c.takeOldestPart(); ok {
			g.parts = append(g.parts, p)
			g.bytes += p.written
			c.leaving += p.written
			continue
		}
		e := c.victim(metadata)
		if e == nil {
			break
		}
		g.victims = append(g.victims, c.sentence(e))
		g.bytes += e.size
		c.stats.Evictions++
		c.stats.EvictedBytes += e.size
	}
	return g
}

// victim returns the blob to forget next: the least recently used one that
// nobody reads. Within their share manifests and configs come last, and for
// other blobs they stay. It returns nil when there is none. The caller holds mu.
func (c *Cache) victim(metadata bool) *entry {
	blob, meta := c.oldest(c.opts.Policy), c.oldest(c.opts.Metadata)
	overShare := c.metadataUsed > c.metadataShare()
	switch {
	case meta == nil:
		return blob
	case blob == nil && (overShare || metadata):
		return meta
	case blob != nil && overShare && meta.used.Before(blob.used):
		return meta
	}
	return blob
}

// oldest returns the least recently used entry of p that nobody reads, or nil.
// The caller holds mu.
func (c *Cache) oldest(p Policy) *entry {
	if p == nil {
		return nil
	}
	for range len(c.entries) { // those that are read are tried once each
		d, ok := p.Victim()
		if !ok {
			return nil
		}
		if e := c.entries[d]; e.readers == 0 {
			return e
		}
		p.Touch(d)
	}
	return nil
}

// sentence forgets e and returns what is to be removed. Its bytes count as
// leaving until then. The caller holds mu.
func (c *Cache) sentence(e *entry) victim {
	v := victim{digest: e.digest, size: e.size, gone: make(chan struct{})}
	c.forget(e.digest)
	c.evicting[e.digest] = v.gone
	c.leaving += e.size
	return v
}

// evict removes what was condemned.
func (c *Cache) evict(g condemned) {
	c.removeDropped(g.parts)
	if len(g.victims) == 0 {
		return
	}
	c.remove(g.victims)
	for _, v := range g.victims {
		report2(c.opts.Hooks.Evicted, v.digest, v.size)
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
		if err := c.opts.Store.Remove(context.WithoutCancel(c.runner.Context()), v.digest); err != nil {
			report2(c.opts.Hooks.RemoveFailed, v.digest, err)
			c.degrade(health.Disk, err)
		}
		c.mu.Lock()
		c.leaving -= v.size
		if c.evicting[v.digest] == v.gone {
			delete(c.evicting, v.digest)
		}
		c.mu.Unlock()
		close(v.gone)
	}
}

// hold waits until a file of f's digest that is being removed is gone, so that
// the removal cannot hit the new one, and then keeps all others from the file
// until f.letGo. What is cached under the digest is forgotten, but for its type, so
// that it is not evicted meanwhile; it comes back unless something has replaced it.
// hold reports whether there is such a thing.
func (c *Cache) hold(f *flight) bool {
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
	old := c.entries[d]
	var replaced int64 // bytes of a file that is on the disk until the new one takes its name
	if old != nil {
		f.entry.typed, f.entry.config = old.typed, old.config
		replaced = old.size
		c.leaving += replaced
		c.forget(d)
	}
	f.letGo = func() {
		c.leaving -= replaced
		if old != nil && c.entries[d] == nil {
			c.keep(old)
		}
		delete(c.evicting, d)
		close(held)
	}
	return old != nil
}

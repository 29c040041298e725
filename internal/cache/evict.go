package cache

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"mirrord/internal/cache/spool"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// evictor removes blobs and unfinished fills, for one caller at a time: two would
// evict twice for the same bytes.
type evictor struct {
	cache *Cache
	turn  chan struct{} // holds one while a batch is evicted, until it is off the disk
}

func newEvictor(c *Cache) *evictor { return &evictor{cache: c, turn: make(chan struct{}, 1)} }

// lock waits until no other eviction runs.
func (v *evictor) lock() (unlock func()) {
	v.turn <- struct{}{}
	return func() { <-v.turn }
}

// victim is a blob that has been forgotten and whose file is to be removed.
type victim struct {
	digest oci.Digest
	size   int64
	gone   chan struct{}
}

// batch is what has been forgotten to free space and is still on the disk.
type batch struct {
	parts   []part
	victims []victim
	bytes   int64
}

func (b batch) files() int { return len(b.parts) + len(b.victims) }

// batchFiles is how many files one fill evicts before others get their turn.
const batchFiles = 32

// condemn forgets files until it is enough or nothing is left: the oldest
// unfinished fills without waiters, and then blobs. Their bytes count as
// leaving until evict has removed them. The caller holds mu and the evictor.
func (v *evictor) condemn(metadata bool, enough func(batch) bool) batch {
	c := v.cache
	var b batch
	for !enough(b) {
		if p := c.parts.takeOldest(); p.exists() {
			b.parts = append(b.parts, p)
			b.bytes += p.written
			c.space.leaving += p.written
			continue
		}
		e := c.blobs.victim(metadata)
		if e == nil {
			break
		}
		b.victims = append(b.victims, v.condemnEntry(e))
		b.bytes += e.size
		c.stats.Evictions++
		c.stats.EvictedBytes += e.size
	}
	return b
}

// condemnEntry forgets e. Its bytes count as leaving until it is removed. The caller
// holds mu and the evictor.
func (v *evictor) condemnEntry(e *entry) victim {
	v.cache.forget(e)
	return v.condemnFile(e.digest, e.size)
}

// condemnFile marks the file of d, which has no entry, for removal.
func (v *evictor) condemnFile(d oci.Digest, size int64) victim {
	condemned := victim{digest: d, size: size, gone: make(chan struct{})}
	v.cache.blobs.busy[d] = condemned.gone
	v.cache.space.leaving += size
	return condemned
}

// evict removes what was condemned.
func (v *evictor) evict(b batch) {
	v.cache.partDir.removeLeaving(b.parts)
	if len(b.victims) == 0 {
		return
	}
	v.remove(b.victims...)
	for _, gone := range b.victims {
		report2(v.cache.opts.Hooks.Evicted, gone.digest, gone.size)
	}
}

// remove removes blobs: from the index first, so that no crash leaves a record
// without a file. A file that cannot be removed is adopted by the next start.
func (v *evictor) remove(victims ...victim) {
	c := v.cache
	digests := make([]oci.Digest, len(victims))
	for i, gone := range victims {
		digests[i] = gone.digest
	}
	c.recorder.save(digests...)
	for _, gone := range victims {
		if err := c.opts.Store.Remove(context.WithoutCancel(c.runner.Context()), gone.digest); err != nil {
			report2(c.opts.Hooks.RemoveFailed, gone.digest, err)
			c.degrade(health.Disk, err)
		}
		c.mu.Lock()
		c.space.leaving -= gone.size
		if c.blobs.busy[gone.digest] == gone.gone {
			delete(c.blobs.busy, gone.digest)
		}
		c.mu.Unlock()
		close(gone.gone)
	}
}

// dropDamaged drops a blob that is damaged because of why, unless its digest has
// another entry by now.
func (v *evictor) dropDamaged(e *entry, why error) {
	defer v.lock()()
	c := v.cache
	c.mu.Lock()
	if c.blobs.get(e.digest) != e {
		c.mu.Unlock()
		return
	}
	gone := v.condemnEntry(e)
	c.mu.Unlock()
	report2(c.opts.Hooks.Damaged, e.digest, why)
	v.remove(gone)
}

// errFull says that the disk is full whatever is evicted.
var errFull = fmt.Errorf("%w: it is full, and evicting frees no space", spool.ErrDisk)

// isFull reports whether a write failed for want of space.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// evictFiles is how many files are evicted at least in each round for one write
// that fails for want of space: it may be inodes that are short.
var evictFiles = [...]int{1, 4}

// write does something that writes need bytes, and again after evicting when the
// disk has no space for it, or no inodes, though it was thought to have: there may
// be a quota, or another program writes as well. When that has no effect nothing
// more is evicted for writes until the disk is found to have space.
func (v *evictor) write(need int64, do func() error) error {
	err := do()
	var freed int64
	for _, files := range evictFiles {
		if !isFull(err) {
			break
		}
		n := v.evictAtLeast(need, files)
		if n == 0 {
			break
		}
		freed += n
		err = do()
	}
	if isFull(err) && freed > 0 {
		v.cache.mu.Lock()
		v.cache.space.noEffect += freed
		v.cache.mu.Unlock()
	}
	return err
}

// evictAtLeast evicts so many bytes and files and returns the bytes: none when
// there is nothing to evict, or when the last evictions had no effect.
func (v *evictor) evictAtLeast(need int64, files int) int64 {
	defer v.lock()()
	c := v.cache
	c.mu.Lock()
	var b batch
	if c.space.noEffect == 0 {
		b = v.condemn(false, func(b batch) bool { return b.bytes >= need && b.files() >= files })
	}
	c.mu.Unlock()
	v.evict(b)
	return b.bytes
}

// hasNoEffect reports whether the disk is full and evicting does not help.
func (v *evictor) hasNoEffect() bool {
	v.cache.mu.Lock()
	defer v.cache.mu.Unlock()
	return v.cache.space.noEffect > 0
}

package cache

import (
	"errors"
	"fmt"
	"syscall"

	"mirrord/internal/cache/spool"
	"mirrord/internal/health"
)

// shedFiles is how many files go at least in each round of evictions for one
// write that fails for want of space: it may be inodes that lack.
var shedFiles = [...]int{1, 4}

// errFull says that the disk is full whatever is evicted.
var errFull = fmt.Errorf("%w: it is full, and evicting makes no room", spool.ErrDisk)

// isFull reports whether a write failed for want of space.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// makingRoom does something that writes need bytes, and again with less in the
// cache when the disk has no space for it, or no inodes, though it was thought to
// have: there may be a quota, or somebody else writes as well. When that is in
// vain nothing more is evicted for it until the disk is found to have space.
func (c *Cache) makingRoom(need int64, do func() error) error {
	err := do()
	var freed int64
	for _, files := range shedFiles {
		if !isFull(err) {
			break
		}
		n := c.shed(need, files)
		if n == 0 {
			break
		}
		freed += n
		err = do()
	}
	if isFull(err) && freed > 0 {
		c.mu.Lock()
		c.inVain += freed
		c.mu.Unlock()
	}
	return err
}

// shed evicts so many bytes and files and returns the bytes: none when there is
// nothing to evict, or when the last evictions were in vain.
func (c *Cache) shed(need int64, files int) int64 {
	defer c.makeAlone()()
	c.mu.Lock()
	var gone condemned
	if c.inVain == 0 {
		gone = c.condemn(false, func(g condemned) bool { return g.bytes >= need && g.files() >= files })
	}
	c.mu.Unlock()
	c.evict(gone)
	return gone.bytes
}

// evictsInVain reports whether the disk is full and evicting does not help.
func (c *Cache) evictsInVain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inVain > 0
}

// probeSize returns how many bytes must find room on the disk for it to be of
// use: no more than were evicted in vain, which may turn out not to have been.
func (c *Cache) probeSize() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inVain > 0 {
		return min(c.inVain, probeBytes)
	}
	return probeBytes
}

// checkDisk notes that the disk has no room for size bytes, or for what must find
// room, whatever is evicted.
func (c *Cache) checkDisk(size int64) {
	if err := c.roomFor(min(max(size, 0), probeBytes)); err != nil {
		c.degrade(health.Disk, err)
	}
}

// roomFor says why the disk has no room for size bytes, whatever is evicted.
func (c *Cache) roomFor(size int64) error {
	free := c.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overFloor(size, free) <= c.used-c.reading {
		return nil
	}
	return fmt.Errorf("the disk has %d bytes free, cache.min_free is %d, and nothing is left to evict", free, c.opts.MinFree)
}

package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// probeBytes is what must find space for the disk to be of use.
const probeBytes = 1 << 20

// degrade notes that component fails because of err. What the shutdown interrupts
// does not count.
func (c *Cache) degrade(component health.Component, err error) {
	if !c.runner.Stopped() {
		c.health.Fail(component, err)
	}
}

// noteDisk notes that the disk has failed, if err says so.
func (c *Cache) noteDisk(err error) {
	if errors.Is(err, spool.ErrDisk) {
		c.degrade(health.Disk, err)
	}
}

// checkDisk notes that the disk has no space for size bytes, or for a probe,
// whatever is evicted.
func (c *Cache) checkDisk(size int64) {
	if err := c.checkSpace(min(max(size, 0), probeBytes)); err != nil {
		c.degrade(health.Disk, err)
	}
}

// checkSpace returns why the disk has no space for size bytes, whatever is evicted.
func (c *Cache) checkSpace(size int64) error {
	free := c.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.space.belowFloor(size, free) <= c.blobs.evictable(true) {
		return nil
	}
	return fmt.Errorf("the disk has %d bytes free, cache.min_free is %d, and nothing is left to evict", free, c.limits.Load().MinFree)
}

// retryDisk tries whether the disk works again, and if so believes again in what it
// did not give before.
func (c *Cache) retryDisk() error {
	done, ok := c.runner.Hold() // the end of the cache waits for it
	if !ok {
		return call.ErrShutdown
	}
	defer done()
	if err := c.probeDisk(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.space.noEffect = 0
	c.blobs.recover()
	return nil
}

// probeDisk does once everything that is done with a blob.
func (c *Cache) probeDisk() error {
	size := c.probeSize()
	if err := c.checkSpace(size); err != nil {
		return err
	}
	file, err := c.partDir.create("probe")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name()) // what stays is removed by the next start
	}()
	content := bytes.Repeat([]byte("mirrord's probe\n"), probeBytes/16)[:size] // no image has this blob
	write := func() error { _, err := file.WriteAt(content, 0); return err }
	if err := c.evictor.write(copyBuffer, write); err != nil {
		return err
	}
	return c.probeStore(oci.FromBytes(content), file)
}

// probeSize returns how many bytes a probe writes: no more than were evicted
// without effect, which may turn out to have had one.
func (c *Cache) probeSize() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.space.noEffect > 0 {
		return min(c.space.noEffect, probeBytes)
	}
	return probeBytes
}

func (c *Cache) probeStore(d oci.Digest, file *os.File) error {
	ctx, store := context.WithoutCancel(c.runner.Context()), c.opts.Store
	err := store.Put(ctx, d, file)
	if err == nil {
		var body io.Closer
		if body, err = store.Open(ctx, d); err == nil {
			err = body.Close()
		}
	}
	return errors.Join(err, store.Remove(ctx, d)) // also what was put though Put failed
}

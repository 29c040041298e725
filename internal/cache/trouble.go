package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"mirrord/internal/cache/spool"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

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

// retryDisk tries whether the disk works again and, if so, believes again in what
// it did not give before.
func (c *Cache) retryDisk() error {
	if err := c.tryDisk(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inVain = 0
	for _, e := range c.failing {
		e.failing = false
	}
	c.failing = nil
	return nil
}

// probeBytes is what must find room for the disk to be of use.
const probeBytes = 1 << 20

// tryDisk does once all that is done with a blob.
func (c *Cache) tryDisk() error {
	size := c.probeSize()
	if err := c.roomFor(size); err != nil {
		return err
	}
	file, err := c.createPart("probe")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name()) // what stays is found by the next start
	}()
	content := bytes.Repeat([]byte("mirrord's probe\n"), probeBytes/16)[:size] // a blob that nobody else has
	write := func() error { _, err := file.WriteAt(content, 0); return err }
	if err := c.makingRoom(copyBuffer, write); err != nil {
		return err
	}
	return c.tryStore(oci.FromBytes(content), file)
}

func (c *Cache) tryStore(d oci.Digest, file *os.File) error {
	ctx := context.WithoutCancel(c.runner.Context())
	err := c.opts.Store.Put(ctx, d, file)
	if err == nil {
		var body io.Closer
		if body, err = c.opts.Store.Open(ctx, d); err == nil {
			err = body.Close()
		}
	}
	return errors.Join(err, c.opts.Store.Remove(ctx, d)) // also what was put though it failed
}

// createPart makes a file for a fill, and the directory for it when somebody has
// taken that away.
func (c *Cache) createPart(prefix string) (file *os.File, err error) {
	create := func() error {
		file, err = os.CreateTemp(c.opts.Parts, prefix+"*")
		return err
	}
	if err := c.makingRoom(0, create); !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	if err := os.MkdirAll(c.opts.Parts, 0o750); err != nil {
		return nil, err
	}
	return file, c.makingRoom(0, create)
}

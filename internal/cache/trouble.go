package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// Trouble names what a cache has to do without for now; it serves all the same.
// There are no others than these, so it serves as a metric's label.
type Trouble string

const (
	DiskTrouble  Trouble = "disk"  // what is fetched cannot be written, or what is kept not be read: it goes past the cache
	IndexTrouble Trouble = "index" // what is kept is not remembered across a restart
)

// degrade notes that t has begun, and tells it once.
func (c *Cache) degrade(t Trouble, err error) {
	c.mu.Lock()
	_, known := c.troubles[t]
	if !known {
		c.troubles[t] = err
	}
	c.mu.Unlock()
	if !known && c.ctx.Err() == nil { // the end of the mirror is no trouble
		call2(c.Hooks.Degraded, t, err)
	}
}

// noteDisk notes that the disk has failed, if err says so.
func (c *Cache) noteDisk(err error) {
	if errors.Is(err, spool.ErrDisk) {
		c.degrade(DiskTrouble, err)
	}
}

// recovered notes that t is over.
func (c *Cache) recovered(t Trouble) {
	c.mu.Lock()
	delete(c.troubles, t)
	if t == DiskTrouble {
		c.inVain = 0
		for _, e := range c.failing {
			e.failing = false
		}
		c.failing = nil
	}
	c.mu.Unlock()
	call(c.Hooks.Recovered, t)
}

// mend finds out whether what is in trouble works again, and makes up for what
// the disk has missed.
func (c *Cache) mend() {
	c.mu.Lock()
	troubles := slices.Sorted(maps.Keys(c.troubles))
	c.mu.Unlock()
	try := map[Trouble]func() error{DiskTrouble: c.tryDisk, IndexTrouble: c.catchUp}
	for _, t := range troubles {
		if try[t]() == nil {
			c.recovered(t)
		}
	}
	if !c.inTrouble(DiskTrouble) {
		c.keepManifests()
	}
}

func (c *Cache) inTrouble(t Trouble) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.troubles[t] != nil
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
	ctx := context.WithoutCancel(c.ctx)
	err := c.Store.Put(ctx, d, file)
	if err == nil {
		var body io.Closer
		if body, err = c.Store.Open(ctx, d); err == nil {
			err = body.Close()
		}
	}
	return errors.Join(err, c.Store.Remove(ctx, d)) // also what was put though it failed
}

// createPart makes a file for a fill, and the directory for it when somebody has
// taken that away.
func (c *Cache) createPart(prefix string) (file *os.File, err error) {
	create := func() error {
		file, err = os.CreateTemp(c.Parts, prefix+"*")
		return err
	}
	if err := c.makingRoom(0, create); !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	if err := os.MkdirAll(c.Parts, 0o750); err != nil {
		return nil, err
	}
	return file, c.makingRoom(0, create)
}

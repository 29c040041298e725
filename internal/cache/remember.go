package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// noteIndex notes that the index did not take or give a record.
func (c *Cache) noteIndex(err error) {
	if err != nil {
		report(c.opts.Hooks.IndexFailed, err)
		c.degrade(health.Index, err)
	}
}

// load fills the memory from the index and takes stock of unfinished fills.
func (c *Cache) load() error {
	var records []BlobRecord
	for record, err := range c.opts.Index.Blobs() {
		if err != nil {
			c.partial = true
			c.noteIndex(err)
			continue
		}
		records = append(records, record)
	}
	byAge(records)
	for _, r := range records {
		c.keep(newEntry(r))
	}
	if err := c.loadParts(); err != nil {
		return fmt.Errorf("read unfinished fills: %w", err)
	}
	return nil
}

// flush tells the index when entries were used and verified.
func (c *Cache) flush() {
	c.mu.Lock()
	dirty := slices.Collect(maps.Keys(c.dirty))
	clear(c.dirty)
	c.mu.Unlock()
	c.noteIndex(c.tellIndex(dirty...))
}

// tellIndex tells the index what has become of ds: what is kept, and was hashed,
// is put, the rest removed. One caller tells it at a time, so that nothing that
// was true before is written over what is true now.
func (c *Cache) tellIndex(ds ...oci.Digest) error {
	c.indexTurn <- struct{}{}
	defer func() { <-c.indexTurn }()
	var kept []BlobRecord
	var gone []oci.Digest
	c.mu.Lock()
	for _, d := range ds {
		if e := c.entries[d]; e != nil && e.isProven() {
			kept = append(kept, e.record())
		} else {
			gone = append(gone, d)
		}
	}
	c.mu.Unlock()
	var err error
	if len(gone) > 0 {
		err = c.opts.Index.RemoveBlobs(gone...)
	}
	if len(kept) > 0 {
		err = errors.Join(err, c.opts.Index.PutBlobs(kept...))
	}
	return err
}

// catchUp writes all records to the index after it has missed some: it was opened
// late, or a write failed.
func (c *Cache) catchUp() error {
	if err := c.opts.Index.PutBlobs(); err != nil { // it cannot be written yet
		return err
	}
	gone := c.reread()
	c.mu.Lock()
	known := slices.Collect(maps.Keys(c.entries))
	c.mu.Unlock()
	err := c.tellIndex(append(known, gone...)...)
	if err == nil {
		c.partial = false
	}
	return err
}

// reread takes from the index what could not be read before, and returns the blobs
// in it that are not cached any more. What cannot be read now is left alone.
func (c *Cache) reread() (gone []oci.Digest) {
	for record, err := range c.opts.Index.Blobs() {
		if err == nil && !c.recognise(record) {
			gone = append(gone, record.Digest)
		}
	}
	return gone
}

// recognise believes the index about a blob that is there, and reports whether
// it is.
func (c *Cache) recognise(r BlobRecord) bool {
	c.mu.Lock()
	e := c.entries[r.Digest]
	if e != nil && e.isProven() {
		if e.mediaType == "" {
			e.typed = typed{r.MediaType, r.Origin}
			c.reclassify(e)
		}
		c.mu.Unlock()
		return true
	}
	c.mu.Unlock()
	known := newEntry(r)
	body, err := c.opts.Store.Open(context.WithoutCancel(c.runner.Context()), r.Digest)
	if err != nil {
		return false
	}
	defer func() { _ = body.Close() }()
	if checkSize(body, r.Size) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[r.Digest] == e && c.evicting[r.Digest] == nil {
		c.keep(known)
	}
	return true
}

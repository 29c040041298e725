package cache

import (
	"context"
	"fmt"

	"mirrord/internal/oci"
)

// noteIndex notes that the index did not take or give a record.
func (c *Cache) noteIndex(err error) {
	if err != nil {
		call(c.Hooks.IndexFailed, err)
		c.degrade(IndexTrouble, err)
	}
}

// load fills the memory from the index and takes stock of unfinished fills.
func (c *Cache) load() error {
	var records []BlobRecord
	for record, err := range c.Index.Blobs() {
		if err != nil {
			c.noteIndex(err)
			continue
		}
		records = append(records, record)
	}
	byAge(records)
	for _, r := range records {
		c.keep(newEntry(r))
	}
	for record, err := range c.Index.Tags() {
		if err != nil {
			c.noteIndex(err)
			continue
		}
		c.tags[record.Ref] = c.newTag(record)
	}
	if err := c.loadParts(); err != nil {
		return fmt.Errorf("read unfinished fills: %w", err)
	}
	return nil
}

// flush tells the index when entries were used and verified.
func (c *Cache) flush() {
	c.mu.Lock()
	records := make([]BlobRecord, 0, len(c.dirty))
	for d := range c.dirty {
		records = append(records, c.entries[d].record())
	}
	clear(c.dirty)
	c.mu.Unlock()
	if len(records) > 0 {
		c.noteIndex(c.Index.PutBlobs(records...))
	}
}

// catchUp tells the index all, after it has missed something: it was opened
// late, or did not take what it was told.
func (c *Cache) catchUp() error {
	if err := c.Index.RemoveBlobs(c.learn()...); err != nil {
		return err
	}
	blobs, tags := c.records()
	if err := c.Index.PutBlobs(blobs...); err != nil {
		return err
	}
	for _, t := range tags {
		if err := c.Index.PutTag(t); err != nil {
			return err
		}
	}
	return nil
}

// records returns all that the index should know.
func (c *Cache) records() (blobs []BlobRecord, tags []TagRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.isProven() {
			blobs = append(blobs, e.record())
		}
	}
	for _, t := range c.tags {
		tags = append(tags, t.TagRecord)
	}
	return blobs, tags
}

// learn takes from the index what is not known yet, and returns the blobs that
// it knows and that are no more. What cannot be read says nothing.
func (c *Cache) learn() (gone []oci.Digest) {
	for record, err := range c.Index.Blobs() {
		if err == nil && !c.recognise(record) {
			gone = append(gone, record.Digest)
		}
	}
	for record, err := range c.Index.Tags() {
		if err != nil {
			continue
		}
		c.mu.Lock()
		if c.tags[record.Ref] == nil {
			c.tags[record.Ref] = c.newTag(record)
		}
		c.mu.Unlock()
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
			e.mediaType = r.MediaType
		}
		c.mu.Unlock()
		return true
	}
	c.mu.Unlock()
	known := newEntry(r)
	body, err := c.Store.Open(context.WithoutCancel(c.ctx), r.Digest)
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

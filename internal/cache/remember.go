package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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
			c.blind = true
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
			c.blind = true
			c.noteIndex(err)
			continue
		}
		c.tags[record.Ref] = &tag{TagRecord: record, fresh: c.freshness(record.Ref)}
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
	c.telling <- struct{}{}
	defer func() { <-c.telling }()
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
		err = c.Index.RemoveBlobs(gone...)
	}
	if len(kept) > 0 {
		err = errors.Join(err, c.Index.PutBlobs(kept...))
	}
	return err
}

// tellTags tells the index what has become of refs: what is known is put, the
// rest removed. Like tellIndex it is called by one at a time.
func (c *Cache) tellTags(refs ...oci.Ref) error {
	c.telling <- struct{}{}
	defer func() { <-c.telling }()
	var known []TagRecord
	var gone []oci.Ref
	c.mu.Lock()
	for _, ref := range refs {
		if t := c.tags[ref]; t != nil {
			known = append(known, t.TagRecord)
		} else {
			gone = append(gone, ref)
		}
	}
	c.mu.Unlock()
	var err error
	if len(gone) > 0 {
		err = c.Index.RemoveTags(gone...)
	}
	for _, t := range known {
		err = errors.Join(err, c.Index.PutTag(t))
	}
	return err
}

// catchUp tells the index all, after it has missed something: it was opened
// late, or did not take what it was told.
func (c *Cache) catchUp() error {
	if err := c.Index.PutBlobs(); err != nil { // it cannot be written yet
		return err
	}
	goneBlobs, goneTags := c.learn()
	blobs, tags := c.all()
	err := errors.Join(c.tellIndex(append(blobs, goneBlobs...)...), c.tellTags(append(tags, goneTags...)...))
	if err == nil {
		c.blind = false
	}
	return err
}

// all returns all that the index should know of.
func (c *Cache) all() (blobs []oci.Digest, tags []oci.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.entries)), slices.Collect(maps.Keys(c.tags))
}

// learn takes from the index what could not be read of it before, and returns
// what it knows and is no more. What cannot be read now says nothing.
func (c *Cache) learn() (blobs []oci.Digest, tags []oci.Ref) {
	for record, err := range c.Index.Blobs() {
		if err == nil && !c.recognise(record) {
			blobs = append(blobs, record.Digest)
		}
	}
	for record, err := range c.Index.Tags() {
		if err == nil && !c.recogniseTag(record) {
			tags = append(tags, record.Ref)
		}
	}
	return blobs, tags
}

// recogniseTag believes the index about a tag if it could not be asked before,
// and reports whether the tag is known: one that is not was removed.
func (c *Cache) recogniseTag(r TagRecord) bool {
	fresh := c.freshness(r.Ref)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tags[r.Ref] == nil && c.blind {
		c.tags[r.Ref] = &tag{TagRecord: r, fresh: fresh}
	}
	return c.tags[r.Ref] != nil
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

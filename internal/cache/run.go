package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"mirrord/internal/oci"
)

const (
	flushEvery = 15 * time.Second // so a kill loses less than half a minute of recency
	tendEvery  = 30 * time.Second
)

// load fills the memory from the index and takes stock of unfinished fills.
func (c *Cache) load() error {
	var records []BlobRecord
	for record, err := range c.Index.Blobs() {
		if err != nil {
			call(c.Hooks.IndexFailed, err)
			continue
		}
		records = append(records, record)
	}
	byAge(records)
	for _, r := range records {
		c.keep(newEntry(r.Descriptor, r.Used))
	}
	for record, err := range c.Index.Tags() {
		if err != nil {
			call(c.Hooks.IndexFailed, err)
			continue
		}
		c.tags[record.Ref] = c.newTag(record)
	}
	if err := c.loadParts(); err != nil {
		return fmt.Errorf("read unfinished fills: %w", err)
	}
	return nil
}

// Run works for the cache until ctx ends: it holds the directory against the
// index, writes recency, keeps the disk within its limits. Then it ends the
// fills, waits for them and writes what the index does not know yet. Run once.
func (c *Cache) Run(ctx context.Context) error {
	defer c.shutDown()
	c.running.Go(func() { c.reconcile(c.ctx) })
	flush, tend := time.NewTicker(flushEvery), time.NewTicker(tendEvery)
	defer flush.Stop()
	defer tend.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-flush.C:
			c.flush()
		case <-tend.C:
			c.tend()
		}
	}
}

func (c *Cache) shutDown() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	c.flush()
}

// flush tells the index when entries were used.
func (c *Cache) flush() {
	c.mu.Lock()
	records := make([]BlobRecord, 0, len(c.dirty))
	for d := range c.dirty {
		records = append(records, c.entries[d].record())
	}
	clear(c.dirty)
	c.mu.Unlock()
	if len(records) == 0 {
		return
	}
	if err := c.Index.PutBlobs(records...); err != nil {
		call(c.Hooks.IndexFailed, err)
	}
}

// tend drops what is too old and makes room when the disk runs short.
func (c *Cache) tend() {
	now := time.Now()
	c.mu.Lock()
	parts := c.dropPartsBefore(now.Add(-partAge))
	var old []oci.Ref
	for ref, t := range c.tags {
		if now.Sub(t.Checked) > max(c.MaxStale, t.fresh) {
			delete(c.tags, ref)
			old = append(old, ref)
		}
	}
	c.mu.Unlock()
	removeParts(parts)
	if len(old) > 0 {
		if err := c.Index.RemoveTags(old...); err != nil {
			call(c.Hooks.IndexFailed, err)
		}
	}
	c.trim()
}

// trim evicts what is over the limits, if they were lowered or something else
// filled the disk.
func (c *Cache) trim() {
	if r := c.reserve(0, 0); r != nil {
		r.release()
	}
}

// Reconciliation is what a walk over the directory found: blobs that the index
// did not know, and records whose blob is gone.
type Reconciliation struct {
	Adopted, Lost int
}

// reconcile holds the directory against the index: a crash can leave a file
// that the index does not know, a person or a disk can take one away.
func (c *Cache) reconcile(ctx context.Context) {
	before := c.known()
	var found Reconciliation
	var errs []error
	for blob, err := range c.Store.All(ctx) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		delete(before, blob.Digest)
		if c.adopt(blob) {
			found.Adopted++
		}
	}
	if len(errs) == 0 { // with errors, what was not seen may be there
		for _, e := range before {
			if c.lose(ctx, e) {
				found.Lost++
			}
		}
	}
	c.trim()
	call2(c.Hooks.Reconciled, found, errors.Join(errs...))
}

// known returns what is kept now.
func (c *Cache) known() map[oci.Digest]*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.entries)
}

// adopt keeps a file that nobody knew. Its media type is not known: it serves
// as a blob.
func (c *Cache) adopt(b Blob) bool {
	c.mu.Lock()
	_, evicting := c.evicting[b.Digest]
	if c.entries[b.Digest] != nil || evicting {
		c.mu.Unlock()
		return false
	}
	e := newEntry(oci.Descriptor{Digest: b.Digest, Size: b.Size}, b.ModTime)
	c.keep(e)
	record := e.record()
	c.mu.Unlock()
	if err := c.Index.PutBlobs(record); err != nil {
		call(c.Hooks.IndexFailed, err)
	}
	return true
}

// lose drops the record of a blob whose file was not found, unless it can be
// opened after all: it may have been put again meanwhile.
func (c *Cache) lose(ctx context.Context, e *entry) bool {
	body, err := c.openStored(ctx, e)
	if err == nil {
		_ = body.Close()
	}
	return errors.Is(err, errAbsent)
}

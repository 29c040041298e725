package cache

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// recorder keeps the index in step with the entries in memory.
type recorder struct {
	cache   *Cache
	writing chan struct{} // holds one while the index is written
	partial bool          // the index could not be read whole; for New and health's retries alone
}

func newRecorder(c *Cache) *recorder { return &recorder{cache: c, writing: make(chan struct{}, 1)} }

// load fills the memory from the index, the least recently used first.
func (w *recorder) load() {
	var records []BlobRecord
	for record, err := range w.cache.opts.Index.Blobs() {
		if err != nil {
			w.partial = true
			w.note(err)
			continue
		}
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b BlobRecord) int {
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Digest, b.Digest))
	})
	for _, r := range records {
		w.cache.add(newEntry(r))
	}
}

// note reports that the index could not be read or written, if err says so.
func (w *recorder) note(err error) {
	if err != nil {
		report(w.cache.opts.Hooks.IndexFailed, err)
		w.cache.degrade(health.Index, err)
	}
}

// flush writes to the index when entries were used and verified.
func (w *recorder) flush() {
	c := w.cache
	c.mu.Lock()
	dirty := slices.Collect(maps.Keys(c.blobs.dirty))
	clear(c.blobs.dirty)
	c.mu.Unlock()
	w.save(dirty...)
}

// save writes what is cached of ds to the index and removes the rest.
func (w *recorder) save(ds ...oci.Digest) { w.note(w.write(ds...)) }

// write is save that returns the error. What was never hashed is not recorded. One
// caller writes at a time, so that what was true before is not written over what is
// true now.
func (w *recorder) write(ds ...oci.Digest) error {
	w.writing <- struct{}{}
	defer func() { <-w.writing }()
	c := w.cache
	var cached []BlobRecord
	var gone []oci.Digest
	c.mu.Lock()
	for _, d := range ds {
		if e := c.blobs.get(d); e != nil && e.isVerified() {
			cached = append(cached, e.record())
		} else {
			gone = append(gone, d)
		}
	}
	c.mu.Unlock()
	var err error
	if len(gone) > 0 {
		err = c.opts.Index.RemoveBlobs(gone...)
	}
	if len(cached) > 0 {
		err = errors.Join(err, c.opts.Index.PutBlobs(cached...))
	}
	return err
}

// catchUp writes all records to the index after it has missed some: it was opened
// late, or a write failed.
func (w *recorder) catchUp() error {
	c := w.cache
	if err := c.opts.Index.PutBlobs(); err != nil { // it cannot be written yet
		return err
	}
	gone := w.reread()
	c.mu.Lock()
	cached := slices.Collect(maps.Keys(c.blobs.entries))
	c.mu.Unlock()
	err := w.write(append(cached, gone...)...)
	if err == nil {
		w.partial = false
	}
	return err
}

// reread takes from the index what could not be read before, and returns the blobs
// in it that are not cached any more. What cannot be read now is left alone.
func (w *recorder) reread() (gone []oci.Digest) {
	for record, err := range w.cache.opts.Index.Blobs() {
		if err == nil && !w.adopt(record) {
			gone = append(gone, record.Digest)
		}
	}
	return gone
}

// adopt believes the index about a blob that is there, and reports whether it is.
func (w *recorder) adopt(r BlobRecord) bool {
	c := w.cache
	c.mu.Lock()
	e := c.blobs.get(r.Digest)
	if e != nil && e.isVerified() {
		if e.mediaType == "" {
			e.typed = typed{r.MediaType, r.Origin}
			c.blobs.reclassify(e)
		}
		c.mu.Unlock()
		return true
	}
	c.mu.Unlock()
	body, err := c.opts.Store.Open(context.WithoutCancel(c.runner.Context()), r.Digest)
	if err != nil {
		return false
	}
	defer func() { _ = body.Close() }()
	if checkFileSize(body, r.Size) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blobs.get(r.Digest) == e && c.blobs.busy[r.Digest] == nil {
		c.add(newEntry(r))
	}
	return true
}

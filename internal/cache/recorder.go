package cache

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"mirrord/internal/health"
	"mirrord/internal/journal"
	"mirrord/internal/oci"
)

// recorder keeps the index in step with the entries in memory.
type recorder struct {
	cache   *Cache
	journal *journal.Journal[oci.Digest, BlobRecord]
}

func newRecorder(c *Cache) *recorder {
	w := &recorder{cache: c}
	w.journal = journal.New(&c.mu, w.record, c.opts.Index.PutBlobs, c.opts.Index.RemoveBlobs)
	return w
}

// load fills the memory from the index, the least recently used first.
func (w *recorder) load() {
	var records []BlobRecord
	for record, err := range w.cache.opts.Index.Blobs() {
		if err != nil {
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
func (w *recorder) save(ds ...oci.Digest) { w.note(w.journal.Write(ds...)) }

// record returns what the index is to know of d. What was never hashed is not
// recorded. The caller holds mu.
func (w *recorder) record(d oci.Digest) (BlobRecord, bool) {
	e := w.cache.blobs.get(d)
	if e == nil || !e.isVerified() {
		return BlobRecord{}, false
	}
	return e.record(), true
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
	return w.journal.Write(append(cached, gone...)...)
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

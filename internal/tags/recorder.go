package tags

import (
	"maps"
	"slices"

	"mirrord/internal/health"
	"mirrord/internal/journal"
	"mirrord/internal/oci"
)

// recorder keeps the index in step with the tags in memory.
type recorder struct {
	tags    *Registry
	journal *journal.Journal[oci.Ref, Record]
	partial bool // the index could not be read whole; for New and health's retries alone
}

func newRecorder(r *Registry) *recorder {
	w := &recorder{tags: r}
	w.journal = journal.New(&r.mu, w.record, r.opts.Index.PutTags, r.opts.Index.RemoveTags)
	return w
}

// load fills the memory from the index.
func (w *recorder) load() {
	r := w.tags
	for record, err := range r.opts.Index.Tags() {
		if err != nil {
			w.partial = true
			w.note(err)
			continue
		}
		r.tags[record.Ref] = &tag{Record: record, fresh: r.freshness(record.Ref)}
	}
}

// note reports that the index could not be read or written. What the shutdown
// interrupts does not count as a failure.
func (w *recorder) note(err error) {
	if err == nil {
		return
	}
	if hook := w.tags.opts.Hooks.IndexFailed; hook != nil {
		hook(err)
	}
	if !w.tags.runner.Stopped() {
		w.tags.opts.Health.Fail(health.Index, err)
	}
}

// save writes what is known of refs to the index and removes the rest.
func (w *recorder) save(refs ...oci.Ref) { w.note(w.journal.Write(refs...)) }

// record returns what the index is to know of ref. The caller holds mu.
func (w *recorder) record(ref oci.Ref) (Record, bool) {
	t := w.tags.tags[ref]
	if t == nil {
		return Record{}, false
	}
	return t.Record, true
}

// catchUp writes all tags to the index after it has missed some: it was opened
// late, or a write failed.
func (w *recorder) catchUp() error {
	if err := w.tags.opts.Index.PutTags(); err != nil { // it cannot be written yet
		return err
	}
	gone := w.reread()
	w.tags.mu.Lock()
	known := slices.Collect(maps.Keys(w.tags.tags))
	w.tags.mu.Unlock()
	err := w.journal.Write(append(known, gone...)...)
	if err == nil {
		w.partial = false
	}
	return err
}

// reread takes from the index what could not be read before, and returns the tags
// in it that were removed since. What cannot be read now is left alone.
func (w *recorder) reread() (gone []oci.Ref) {
	for record, err := range w.tags.opts.Index.Tags() {
		if err == nil && !w.knows(record) {
			gone = append(gone, record.Ref)
		}
	}
	return gone
}

// knows reports whether the tag of record is known. A tag that could not be read
// at the start becomes known; any other was removed.
func (w *recorder) knows(record Record) bool {
	r := w.tags
	fresh := r.freshness(record.Ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tags[record.Ref] == nil && w.partial {
		r.tags[record.Ref] = &tag{Record: record, fresh: fresh}
	}
	return r.tags[record.Ref] != nil
}

package tags

import (
	"errors"
	"maps"
	"slices"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// recorder keeps the index in step with the tags in memory.
type recorder struct {
	tags    *Registry
	writing chan struct{} // holds one while the index is written
	partial bool          // the index could not be read whole; for New and health's retries alone
}

func newRecorder(r *Registry) *recorder {
	return &recorder{tags: r, writing: make(chan struct{}, 1)}
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
func (w *recorder) save(refs ...oci.Ref) { w.note(w.write(refs...)) }

// write is save that returns the error. One caller writes at a time, so that what
// was true before is not written over what is true now.
func (w *recorder) write(refs ...oci.Ref) error {
	w.writing <- struct{}{}
	defer func() { <-w.writing }()
	var known []Record
	var gone []oci.Ref
	r := w.tags
	r.mu.Lock()
	for _, ref := range refs {
		if t := r.tags[ref]; t != nil {
			known = append(known, t.Record)
		} else {
			gone = append(gone, ref)
		}
	}
	r.mu.Unlock()
	var err error
	if len(gone) > 0 {
		err = r.opts.Index.RemoveTags(gone...)
	}
	for _, record := range known {
		err = errors.Join(err, r.opts.Index.PutTag(record))
	}
	return err
}

// catchUp writes all tags to the index after it has missed some: it was opened
// late, or a write failed.
func (w *recorder) catchUp() error {
	gone := w.reread()
	w.tags.mu.Lock()
	known := slices.Collect(maps.Keys(w.tags.tags))
	w.tags.mu.Unlock()
	err := w.write(append(known, gone...)...)
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

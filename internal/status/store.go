package status

import (
	"encoding/json"
	"fmt"
)

// Store has the history across restarts. Its methods are not called concurrently.
type Store interface {
	// History returns the values that were put last, by name; when it fails, those that
	// could be read.
	History() (map[string][]byte, error)
	// PutHistory writes new values and replaces old ones.
	PutHistory(values map[string][]byte) error
}

// record is a span as it is stored, under the name of its place.
type record struct {
	Number int64 `json:"number"`
	Traffic
}

// The names of places: there are as many as spans, so that what is stored is bounded.
const (
	minuteName = "m%04d"
	dayName    = "d%03d"
)

// restore takes over the spans that are stored, under names of that form.
func (r ring) restore(stored map[string][]byte, form string) {
	for i := range r {
		var known record
		if json.Unmarshal(stored[fmt.Sprintf(form, i)], &known) == nil && known.isValid() && r.place(known.Number) == &r[i] {
			r[i] = span{number: known.Number, Traffic: known.Traffic}
		}
	}
}

// isValid reports whether r can be what changed has returned.
func (r record) isValid() bool {
	t := r.Traffic
	return min(t.Requests, t.Hits, t.Failed, t.Bytes, t.Fetched, t.PullsSaved, t.PullsSpent) >= 0
}

// changed adds what has changed since the last call to what is to be stored.
func (r ring) changed(to map[string][]byte, form string) {
	for i := range r {
		s := &r[i]
		if !s.changed {
			continue
		}
		raw, err := json.Marshal(record{s.number, s.Traffic})
		if err != nil {
			panic(err) // plain fields always marshal
		}
		to[fmt.Sprintf(form, i)], s.changed = raw, false
	}
}

// restore takes over the history that is stored. What cannot be read is lost.
func (r *Recorder) restore() {
	if r.opts.Store == nil {
		return
	}
	stored, err := r.opts.Store.History()
	r.series.minutes.restore(stored, minuteName)
	r.series.days.restore(stored, dayName)
	r.reportStore(err)
}

// save stores what has changed. What cannot be stored is tried again the next time. One
// goroutine calls it.
func (r *Recorder) save() {
	if r.opts.Store == nil {
		return
	}
	r.mu.Lock()
	r.series.minutes.changed(r.unsaved, minuteName)
	r.series.days.changed(r.unsaved, dayName)
	r.mu.Unlock()
	if len(r.unsaved) == 0 {
		return
	}
	err := r.opts.Store.PutHistory(r.unsaved)
	if err == nil {
		clear(r.unsaved)
	}
	r.reportStore(err)
}

// reportStore reports the first of several failures.
func (r *Recorder) reportStore(err error) {
	if err != nil && !r.failing && r.opts.StoreFailed != nil {
		r.opts.StoreFailed(err)
	}
	r.failing = err != nil
}

package tags

import (
	"time"

	"mirrord/internal/oci"
)

// Known is what is known of a tag at one moment.
type Known struct {
	Record
	Fresh  time.Duration // how long after Checked it is served without asking
	Retry  time.Time     // the upstream is not asked before, because of Reason; zero: it is
	Reason error
}

// NextCheck returns when the upstream is asked again: at the first request after that. A
// time that is over means the next request.
func (k Known) NextCheck() time.Time {
	if k.Refused != "" {
		return k.Retry
	}
	next := k.Checked.Add(k.Fresh)
	if k.Retry.After(next) {
		return k.Retry
	}
	return next
}

// Known returns what is known of ref, a tag; false if nothing is. Like All it looks in
// memory only, and may be called concurrently.
func (r *Registry) Known(ref oci.Ref) (Known, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tags[ref]
	if t == nil {
		return Known{}, false
	}
	return t.known(), true
}

// All returns what is known of all tags, in no order.
func (r *Registry) All() []Known {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Known, 0, len(r.tags))
	for _, t := range r.tags {
		all = append(all, t.known())
	}
	return all
}

func (t *tag) known() Known {
	return Known{Record: t.Record, Fresh: t.fresh, Retry: t.retry, Reason: t.reason}
}

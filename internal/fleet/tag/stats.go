package tag

import (
	"errors"
	"maps"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
)

// Lookup is how it ended to look for what another mirror was told. There are no others
// than these, so it serves as a metric's label.
type Lookup string

const (
	Used    Lookup = "used"    // the upstream was not asked
	Stale   Lookup = "stale"   // it is too old
	Absent  Lookup = "absent"  // nobody has asked
	Foreign Lookup = "foreign" // it was not written by a mirror of the fleet, or by a newer one
	Failed  Lookup = "error"   // the bucket fails, or is left alone
)

// Lookups are all of them.
var Lookups = []Lookup{Used, Stale, Absent, Foreign, Failed}

func lookup(err error, fresh bool) Lookup {
	switch {
	case fresh:
		return Used
	case err == nil:
		return Stale
	case errors.Is(err, bucket.ErrAbsent):
		return Absent
	case errors.Is(err, keys.ErrForeign), errors.Is(err, keys.ErrNewer):
		return Foreign
	}
	return Failed
}

func (r *Registry) count(l Lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats[l]++
}

// Stats returns how often each was the end of it.
func (r *Registry) Stats() map[Lookup]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.stats)
}

package tags

import (
	"errors"
	"maps"

	"mirrord/internal/oci"
)

// Stats are the figures of a Registry at one moment. All but Tags count from the
// start of the process.
type Stats struct {
	Tags   int                       // state: tags whose digest is known
	Stale  map[oci.StaleReason]int64 // responses with a stale copy of a tag or list
	Checks map[Outcome]int64         // of tags, upstream
}

// Outcome is the result of a check of a tag. There are no others than these, so it
// serves as a metric's label.
type Outcome string

const (
	FirstSeen Outcome = "new"     // nothing was known of it
	Same      Outcome = "same"    // it has not moved
	Moved     Outcome = "moved"   // it names something else
	Missing   Outcome = "missing" // it does not exist, or access is denied
	Limited   Outcome = "limited" // the upstream limits requests
	Failed    Outcome = "failed"  // no response, or an invalid one
)

func newStats() Stats {
	return Stats{Stale: make(map[oci.StaleReason]int64), Checks: make(map[Outcome]int64)}
}

// Stats returns the present figures. It may be called concurrently.
func (r *Registry) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Tags: len(r.tags), Stale: maps.Clone(r.stats.Stale), Checks: maps.Clone(r.stats.Checks)}
}

func (r *Registry) countStale(via oci.Via, reason oci.StaleReason) {
	if via == oci.Stale {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stats.Stale[reason]++
	}
}

// countCheck counts the upstream's response for the tag that t, which may be nil,
// was known of. The caller holds mu.
func (r *Registry) countCheck(t *tag, result oci.Result, err error) {
	if errors.Is(err, oci.ErrOffline) || result.Via == oci.Shared {
		return // it was not asked
	}
	outcome := Moved
	switch {
	case err != nil && oci.CodeOf(err) == oci.TooManyRequests:
		outcome = Limited
	case err != nil && oci.Temporary(err):
		outcome = Failed
	case err != nil:
		outcome = Missing
	case t == nil:
		outcome = FirstSeen
	case t.Latest.Digest == result.Digest:
		outcome = Same
	}
	r.stats.Checks[outcome]++
}

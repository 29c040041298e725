package tags

import (
	"errors"
	"fmt"
	"time"

	"mirrord/internal/oci"
)

// ErrNewer says that more is known of a tag than what is to be adopted.
var ErrNewer = errors.New("the mirror has a newer one")

// Adopt notes that ref, a tag, named d when its upstream was asked at checked, which
// somebody else has done: from then on it is as old as if this mirror had asked. Adopt
// fails with ErrNewer when this mirror knows of a later response that is not the same,
// unless force is set. It may be called concurrently.
func (r *Registry) Adopt(ref oci.Ref, d oci.Descriptor, checked time.Time, force bool) error {
	fresh := r.freshness(ref)
	r.mu.Lock()
	t := r.tags[ref]
	newer := t != nil && t.lastResponse().After(checked)
	same := t != nil && t.Latest.Digest == d.Digest && t.Refused == ""
	switch {
	case newer && same:
		r.mu.Unlock()
		return nil
	case newer && !force:
		last := t.lastResponse()
		r.mu.Unlock()
		return fmt.Errorf("%w: of %s, and this is of %s", ErrNewer, last.UTC().Format(time.RFC3339), checked.UTC().Format(time.RFC3339))
	}
	r.move(ref, oci.Result{Descriptor: d, Via: oci.Stale, Checked: checked}, fresh)
	r.mu.Unlock()
	r.index.save(ref)
	return nil
}

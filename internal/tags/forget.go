package tags

import "mirrord/internal/oci"

// Forget forgets what is known of refs, tags, also in the index: the next request for one
// asks the upstream. It may be called concurrently.
func (r *Registry) Forget(refs ...oci.Ref) {
	r.mu.Lock()
	for _, ref := range refs {
		delete(r.tags, ref)
	}
	r.mu.Unlock()
	r.index.save(refs...)
}

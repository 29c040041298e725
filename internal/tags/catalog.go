package tags

import "slices"

// Repositories returns the repositories of which tags are known, by upstream. It may be
// called concurrently.
func (r *Registry) Repositories() map[string][]string {
	all := make(map[string][]string)
	r.mu.Lock()
	for ref, t := range r.tags {
		if t.Refused == "" {
			all[ref.Upstream()] = append(all[ref.Upstream()], ref.Repository())
		}
	}
	r.mu.Unlock()
	for upstream, repositories := range all {
		slices.Sort(repositories)
		all[upstream] = slices.Compact(repositories)
	}
	return all
}

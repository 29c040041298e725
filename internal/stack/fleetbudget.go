package stack

import "mirrord/internal/fleet/budget"

// shareBudget returns what divides the pulls of an upstream among the mirrors of a fleet, or
// nil.
func (s *Stack) shareBudget(u Upstream) *budget.Ledger {
	o := s.options.Fleet
	if o == nil || o.Secret.IsZero() {
		return nil
	}
	return budget.New(budget.Options{Upstream: u.Name, Bucket: o.Bucket, Secret: o.Secret, Reserve: u.Reserve, Ready: o.mayShareState})
}

// SharedBudgets returns how pulls were divided, by upstream; it is empty when they are not.
func (s *Stack) SharedBudgets() map[string]budget.Stats {
	all := make(map[string]budget.Stats)
	for _, p := range s.pools {
		if p.shared != nil {
			all[p.Load().Name()] = p.shared.Stats()
		}
	}
	return all
}

package cache

import (
	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

const (
	budgetsBytes = 256 << 10 // of memory for the budgets of blobs that are not cached yet
	budgetSize   = 200       // of one, beside its key
)

// budgetOf returns the budget for parts of a blob that are requested ahead of its
// fill. It outlives a flight that fails, or that is dropped before its turn. The
// caller holds mu.
func (c *Cache) budgetOf(ref oci.Ref) *spool.Budget {
	key := budgetKey(ref)
	b, ok := c.budgets.Get(key)
	if !ok {
		b = spool.NewBudget()
		c.budgets.Add(key, b, int64(len(key))+budgetSize)
	}
	return b
}

func budgetKey(ref oci.Ref) string { return ref.Upstream() + " " + ref.Digest().String() }

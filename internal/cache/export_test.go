package cache

import (
	"cmp"
	"fmt"

	"mirrord/internal/oci"
)

// CheckAccounts reports what the space account of an idle cache does not add up to.
func (c *Cache) CheckAccounts() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var used, metadata int64
	for _, e := range c.entries {
		used += e.size
		if e.metadata {
			metadata += e.size
		}
	}
	switch {
	case used != c.used || metadata != c.metadataUsed:
		return fmt.Errorf("%d bytes used, %d of metadata; counted %d and %d", used, metadata, c.used, c.metadataUsed)
	case c.reading != 0 || c.reserved != 0 || c.claimed != 0 || c.leaving != 0 || c.open != 0:
		return fmt.Errorf("reading %d, reserved %d, claimed %d, leaving %d, open %d", c.reading, c.reserved, c.claimed, c.leaving, c.open)
	case len(c.rooms)+len(c.flights)+len(c.evicting)+len(c.turns.order)+len(c.turns.queues) > 0 || c.turns.free != cmp.Or(c.opts.MaxFills, DefaultMaxFills):
		return fmt.Errorf("%d rooms, %d flights, %d being evicted, %d queues, %d turns", len(c.rooms), len(c.flights), len(c.evicting), len(c.turns.order), c.turns.free)
	}
	named := make(map[oci.Digest]bool)
	for _, e := range c.entries {
		named[e.config] = true
	}
	for d := range c.configs {
		if !named[d] {
			return fmt.Errorf("the config %s is named by nothing", d)
		}
	}
	return nil
}

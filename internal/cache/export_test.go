package cache

import (
	"fmt"

	"mirrord/internal/oci"
)

// CheckAccounts reports what the space account of an idle cache does not add up to.
func (c *Cache) CheckAccounts() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, s, t := c.blobs, c.space, c.flights.turns
	var used, metadata, pinned int64
	for _, e := range b.entries {
		used += e.size
		if _, ok := b.pins[e.digest]; ok {
			pinned += e.size
		} else if e.metadata {
			metadata += e.size
		}
	}
	switch {
	case used != b.used || metadata != b.metadataUsed || pinned != b.pinned:
		return fmt.Errorf("%d bytes used, %d of metadata, %d pinned; counted %d, %d and %d", used, metadata, pinned, b.used, b.metadataUsed, b.pinned)
	case b.reading != 0 || s.reserved != 0 || s.claimed != 0 || s.leaving != 0 || s.open != 0:
		return fmt.Errorf("reading %d, reserved %d, claimed %d, leaving %d, open %d", b.reading, s.reserved, s.claimed, s.leaving, s.open)
	case len(s.reservations)+len(c.flights.inFlight)+len(b.busy)+len(t.order)+len(t.queues) > 0 || t.free != t.all:
		return fmt.Errorf("%d reservations, %d flights, %d busy files, %d queues, %d turns", len(s.reservations), len(c.flights.inFlight), len(b.busy), len(t.order), t.free)
	}
	named := make(map[oci.Digest]bool)
	for _, e := range b.entries {
		named[e.config] = true
	}
	for d := range b.configs {
		if !named[d] {
			return fmt.Errorf("no manifest names the config %s", d)
		}
	}
	return nil
}

package cache

import "mirrord/internal/oci"

// Pin makes the blobs of ds those that are never evicted, whether they are cached now or
// later, in the place of those of the last call. The caller does not change ds any more. It
// may be called concurrently.
func (c *Cache) Pin(ds map[oci.Digest]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.blobs.pins
	c.blobs.pins = ds
	for d := range old {
		if _, still := ds[d]; !still {
			c.blobs.repin(d)
		}
	}
	for d := range ds {
		c.blobs.repin(d)
	}
}

// repin pins the entry of d, if there is one, or no longer.
func (b *blobs) repin(d oci.Digest) {
	e := b.entries[d]
	_, pinned := b.pins[d]
	if e == nil || e.pinned == pinned {
		return
	}
	b.exclude(e)
	b.include(e)
}

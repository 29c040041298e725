package cache

import "mirrord/internal/oci"

// Cached describes ref, by digest, if memory or disk can serve it now: whatever a
// HEAD claims, length and type are those of the content (RFC 9110, section 8.6).
// Like Available, InFlight and Missing it looks in memory only and never calls
// back.
func (c *Cache) Cached(ref oci.Ref) (oci.Descriptor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cached(ref)
}

// cached is Cached for a caller who holds mu.
func (c *Cache) cached(ref oci.Ref) (oci.Descriptor, bool) {
	if e := c.blobs.get(ref.Digest()); e.serves(ref) {
		return e.result(ref, "").Descriptor, true
	}
	if m, hot := c.hot.get(ref); hot {
		return m.result(ref.Digest(), "").Descriptor, true
	}
	return oci.Descriptor{}, false
}

// Available describes ref, by digest, if it is cached, Via hit, or has been fetched
// and is being stored, Via fill.
func (c *Cache) Available(ref oci.Ref) (oci.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached, have := c.cached(ref); have {
		return oci.Result{Descriptor: cached, Via: oci.Hit}, true
	}
	return c.flights.fetched(ref)
}

// InFlight reports whether ref, by digest, is being fetched.
func (c *Cache) InFlight(ref oci.Ref) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights.of(ref) != nil
}

// Missing returns the error with which the upstream said a moment ago that it does
// not have ref, by digest, or nil.
func (c *Cache) Missing(ref oci.Ref) error { return c.missing.Recall(ref) }

// PutManifest caches a verified manifest that was pulled by tag, ref being its
// digest, and describes it: Via revalidated if it was cached already, else fill.
func (c *Cache) PutManifest(ref oci.Ref, mediaType string, raw []byte) oci.Result {
	m := manifest{typeOf(ref, raw, mediaType), raw}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pullsByTag[ref.Upstream()]++
	if cached, have := c.cached(ref); have {
		return oci.Result{Descriptor: cached, Via: oci.Revalidated}
	}
	c.hot.add(ref.Digest(), m)
	c.storeManifest(ref, m)
	return m.result(ref.Digest(), oci.Fill)
}

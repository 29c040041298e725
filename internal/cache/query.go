package cache

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"mirrord/internal/oci"
)

// Cached describes ref, by digest, if memory or disk can serve it now: whatever a
// HEAD claims, length and type are those of the content (RFC 9110, section 8.6).
// Like Available, InFlight and Missing it looks in memory only, may be called
// concurrently, and never calls back.
func (c *Cache) Cached(ref oci.Ref) (oci.Descriptor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cached(ref)
}

// cached is Cached for a caller who holds mu.
func (c *Cache) cached(ref oci.Ref) (oci.Descriptor, bool) {
	if e := c.entries[ref.Digest()]; e.serves(ref) {
		return e.answer(ref, "").Descriptor, true
	}
	if m, hot := c.hotManifest(ref); hot {
		return m.answer(ref.Digest(), "").Descriptor, true
	}
	return oci.Descriptor{}, false
}

// Available describes ref, by digest, if it is cached, or has been fetched and is
// being stored.
func (c *Cache) Available(ref oci.Ref) (oci.Descriptor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached, have := c.cached(ref); have {
		return cached, true
	}
	if f := c.flights[keyOf(ref)]; f != nil && f.answered() && f.serves(ref) {
		return f.answer.Descriptor, true
	}
	return oci.Descriptor{}, false
}

// InFlight reports whether ref, by digest, is being fetched.
func (c *Cache) InFlight(ref oci.Ref) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights[keyOf(ref)] != nil
}

// Missing returns the error with which the upstream said a moment ago that it does
// not have ref, by digest, or nil.
func (c *Cache) Missing(ref oci.Ref) error { return c.missing.Recall(ref) }

// errNotCached says that content is not cached.
var errNotCached = fmt.Errorf("not cached: %w", fs.ErrNotExist)

// OpenCached opens ref, by digest, without the upstream. It fails with
// fs.ErrNotExist when ref is not cached, or its file turns out to be damaged.
func (c *Cache) OpenCached(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	return c.openCached(ctx, ref)
}

// OpenWithin is Open of ref, by digest, for a caller that tolerates only so long a
// silence of the upstream; it fails with call.ErrSilent then.
func (c *Cache) OpenWithin(ctx context.Context, ref oci.Ref, silence time.Duration) (*oci.Content, error) {
	return c.openWithin(ctx, ref, silence)
}

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
	c.addManifest(ref.Digest(), m)
	if c.flights[keyOf(ref)] == nil && !c.runner.Stopped() {
		f := c.newFlight(ref, func() {})
		f.manifest = &m
		c.takeOff(f)
	}
	return m.answer(ref.Digest(), oci.Fill)
}

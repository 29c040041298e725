package cache

import (
	"context"
	"errors"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// Resolve answers a ref by digest from the cache where it can, and describes what
// Open would serve. It moves content only where the upstream describes a manifest
// in response to GET alone; it caches that then. A ref by tag is passed on.
func (c *Cache) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if !ref.ByDigest() {
		return c.next.Resolve(ctx, ref)
	}
	result, err := c.resolve(ctx, ref)
	if ref.Kind() == oci.Manifest && (errors.Is(err, oci.ErrNeedsGet) || err == nil && !result.Complete()) {
		return c.describeByGet(ctx, ref)
	}
	return result, err
}

func (c *Cache) resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	for {
		if result, ok := c.lookUp(ref); ok {
			return result, nil
		}
		if !c.verifyFound(ctx, ref) {
			return c.askUpstream(ctx, ref)
		}
	}
}

// lookUp describes content that is cached or has been fetched.
func (c *Cache) lookUp(ref oci.Ref) (oci.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.blobs.get(ref.Digest()); e.serves(ref) {
		c.blobs.touch(e)
		return e.result(ref, oci.Hit), true
	}
	if m, hot := c.hot.get(ref); hot {
		return m.result(ref.Digest(), oci.Hit), true
	}
	return c.flights.fetched(ref)
}

// askUpstream asks about content that is not cached, once for everyone who does.
func (c *Cache) askUpstream(client context.Context, ref oci.Ref) (oci.Result, error) {
	c.mu.Lock() // see call.Group.Do: what is known to be missing is not asked for twice
	if err := c.missing.Recall(ref); err != nil {
		c.mu.Unlock()
		return oci.Result{}, err
	}
	check, joined := c.checks.Do(ref, func(ctx context.Context) (oci.Result, error) {
		ctx = oci.Inherit(ctx, client)
		result, err := c.next.Resolve(ctx, ref)
		if err == nil {
			result, err = c.describe(ref, result)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.missing.Note(ref, err)
		return result, err
	})
	c.mu.Unlock()
	result, err := check.Wait(client, call.Endless)
	if joined && errors.Is(err, oci.ErrLoop) { // that of another client
		return c.askUpstream(client, ref)
	}
	return result, err
}

// describe completes the upstream's response to a HEAD for ref: of what has been
// cached meanwhile with the cached copy, whatever the HEAD claims (RFC 9110,
// section 8.6). It fails when the manifest is too large to be served, which is not
// worth a pull.
func (c *Cache) describe(ref oci.Ref, result oci.Result) (oci.Result, error) {
	result.Via, result.Source = oci.Pass, ref
	if known, have := c.Available(ref); have {
		result.Descriptor = known.Descriptor
		if known.Via == oci.Hit {
			result.Via = oci.Hit
		}
	}
	return result, oci.CheckSize(ref, result.Size)
}

// describeByGet describes a manifest that the response to a HEAD does not describe.
func (c *Cache) describeByGet(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	content, err := c.Open(ctx, ref)
	if err != nil {
		return oci.Result{}, err
	}
	return content.Result, content.Close()
}

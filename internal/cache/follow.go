package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// OpenStored opens what is cached with the digest d, whatever it was fetched as. It fails as
// OpenCached does, and may be called concurrently.
func (c *Cache) OpenStored(ctx context.Context, d oci.Digest) (*oci.Content, error) {
	c.mu.Lock()
	e := c.blobs.get(d)
	if e == nil || !e.isVerified() || e.failing {
		c.mu.Unlock()
		return nil, errNotCached
	}
	c.blobs.touch(e)
	c.blobs.acquire(e)
	c.mu.Unlock()
	body, err := c.openEntry(ctx, e)
	if err != nil {
		c.release(e)
		return nil, c.noteUnopened(ctx, e, err)
	}
	result := oci.Result{Descriptor: oci.Descriptor{Digest: d, Size: e.size}, Via: oci.Hit}
	return &oci.Content{Result: result, Body: body, Done: func() { c.release(e) }}, nil
}

// OpenInFlight opens what is being fetched with the digest d for a ref that allowed admits:
// it waits until the upstream has told the size, reads what arrives, and starts nothing. The
// last byte is withheld until all is verified. It fails with fs.ErrNotExist when nothing is
// in flight, or not to the disk, or has just landed; with the failure of the flight; and with
// the end of ctx, which bounds the Body, too. It may be called concurrently.
func (c *Cache) OpenInFlight(ctx context.Context, d oci.Digest, allowed func(oci.Ref) bool) (*oci.Content, error) {
	f := c.joinAny(ctx, d, allowed)
	if f == nil {
		return nil, fmt.Errorf("%s is not in flight: %w", d, fs.ErrNotExist)
	}
	content, err := c.follow(ctx, f)
	if err != nil {
		c.leave(ctx, f)
	}
	return content, err
}

// joinAny joins a flight of d, of any upstream; nil when there is none.
func (c *Cache) joinAny(ctx context.Context, d oci.Digest, allowed func(oci.Ref) bool) *flight {
	var found []*flight
	c.mu.Lock()
	for key, f := range c.flights.inFlight {
		if key.digest == d {
			found = append(found, f)
		}
	}
	c.mu.Unlock()
	for _, f := range found {
		if !allowed(f.ref) { // it may take locks of others
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flights.of(f.ref) != f {
			return nil // it has just landed
		}
		c.flights.join(ctx, f)
		return f
	}
	return nil
}

// follow returns a reader of f, which the caller has joined.
func (c *Cache) follow(ctx context.Context, f *flight) (*oci.Content, error) {
	select {
	case <-f.opened:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	switch {
	case f.err != nil:
		return nil, f.err
	case f.manifest != nil:
		content := inMemory(f.result, f.manifest.raw)
		content.Done = func() { c.leave(ctx, f) }
		return content, nil
	case f.spool == nil: // it bypasses the disk, and belongs to a client
		return nil, fmt.Errorf("%s is not stored: %w", f.ref, fs.ErrNotExist)
	}
	if err := f.spool.Acquire(); errors.Is(err, spool.ErrClosed) {
		return nil, fmt.Errorf("%s has landed: %w", f.ref, fs.ErrNotExist)
	} else if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.blobs.acquire(f.entry)
	c.mu.Unlock()
	return &oci.Content{
		Result: f.result,
		Body:   f.spool.NewFollower(ctx, f.result.Size),
		Done: func() {
			c.release(f.entry)
			c.leave(ctx, f)
		},
	}, nil
}

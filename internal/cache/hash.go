package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// hash reads the file of d, at the pace of limit unless that is nil. It returns
// what is wrong with it, or the media type that it says it has, if it is a manifest.
func (c *Cache) hash(ctx context.Context, d oci.Digest, size int64, limit *rate.Limiter) (typed, error) {
	raw, err := c.hashRaw(ctx, d, size, limit)
	return foundType(raw), err
}

// hashRaw is hash, and returns the content when it is small enough for a manifest.
func (c *Cache) hashRaw(ctx context.Context, d oci.Digest, size int64, limit *rate.Limiter) ([]byte, error) {
	body, err := c.openFile(ctx, d, size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	verifier := d.Verifier()
	var raw bytes.Buffer
	var to io.Writer = verifier
	if size <= oci.MaxManifestSize {
		to = io.MultiWriter(verifier, &raw)
	}
	_, err = io.CopyBuffer(to, &paced{ctx, body, limit}, make([]byte, copyBuffer))
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	case !verifier.Verified():
		return nil, errCorrupt
	}
	return raw.Bytes(), nil
}

// paced reads no faster than limit, whose burst is copyBuffer, and not after ctx has
// ended.
type paced struct {
	ctx   context.Context
	body  io.Reader
	limit *rate.Limiter // nil: as fast as it goes
}

func (p *paced) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.body.Read(b)
	if p.limit != nil && n > 0 && p.limit.WaitN(p.ctx, n) != nil {
		err = context.Cause(p.ctx)
	}
	return n, err
}

// verify hashes the file of e and drops e when it is damaged. It fails with what is
// wrong, or with the end of ctx.
func (c *Cache) verify(ctx context.Context, e *entry, limit *rate.Limiter) error {
	found, err := c.hash(ctx, e.digest, e.size, limit)
	switch {
	case err == nil:
		c.noteVerified(e, found)
	case isDamage(err):
		c.evictor.dropDamaged(e, err)
	}
	return err
}

// noteVerified notes that the file of e is right, and of which type it says it is.
func (c *Cache) noteVerified(e *entry, found typed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blobs.get(e.digest) != e {
		return
	}
	e.verified = time.Now()
	if e.mediaType == "" && found.mediaType != "" {
		e.typed = found
		c.blobs.reclassify(e)
	}
	c.blobs.dirty[e.digest] = struct{}{}
}

// verifyFound hashes a file that was found and never hashed, once for everyone who
// wants it, and reports whether there was one. It gives up after call.Timeout, or
// with ctx: then the upstream may be asked.
func (c *Cache) verifyFound(ctx context.Context, ref oci.Ref) bool {
	c.mu.Lock()
	e := c.blobs.get(ref.Digest())
	if e == nil || e.isVerified() || c.flights.of(ref) != nil || ref.Kind() == oci.Manifest && e.size > oci.MaxManifestSize {
		c.mu.Unlock()
		return false
	}
	verifying, _ := c.verifyings.Do(ref.Digest(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.verify(ctx, e, nil)
	})
	c.mu.Unlock()
	_, err := verifying.Wait(ctx, call.Endless)
	return err == nil
}

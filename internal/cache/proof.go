package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// What is wrong with a blob that is not as it was put. That its file is gone is
// told by fs.ErrNotExist.
var (
	errWrongSize  = errors.New("file has the wrong size")
	errRotten     = errors.New("file does not hash to its name")
	errUnreadable = errors.New("file cannot be read")
)

// isDamage reports whether err tells of the blob and not of the disk or the
// process.
func isDamage(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errWrongSize) || errors.Is(err, errRotten) || errors.Is(err, errUnreadable)
}

// openSized opens a blob that must have that size.
func (c *Cache) openSized(ctx context.Context, d oci.Digest, size int64) (io.ReadSeekCloser, error) {
	body, err := c.opts.Store.Open(ctx, d)
	if errors.Is(err, syscall.EIO) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err != nil {
		return nil, err
	}
	if err := checkSize(body, size); err != nil {
		_ = body.Close()
		return nil, err
	}
	return body, nil
}

func checkSize(body io.Seeker, want int64) error {
	size, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size != want {
		return fmt.Errorf("%w: %d bytes instead of %d", errWrongSize, size, want)
	}
	_, err = body.Seek(0, io.SeekStart)
	return err
}

// hash reads the file of d, at the pace of limit unless that is nil, and says
// what is wrong with it, or what manifest it is by its own words, if it is one.
func (c *Cache) hash(ctx context.Context, d oci.Digest, size int64, limit *rate.Limiter) (typed, error) {
	body, err := c.openSized(ctx, d, size)
	if err != nil {
		return typed{}, err
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
		return typed{}, context.Cause(ctx)
	case err != nil:
		return typed{}, fmt.Errorf("%w: %w", errUnreadable, err)
	case !verifier.Verified():
		return typed{}, errRotten
	}
	return foundType(raw.Bytes()), nil
}

// paced reads no faster than limit, whose burst is copyBuffer, and not after ctx
// has ended.
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

// prove hashes the file of e and drops what turns out to be damaged. It fails
// with what is wrong, or with the end of ctx.
func (c *Cache) prove(ctx context.Context, e *entry, limit *rate.Limiter) error {
	found, err := c.hash(ctx, e.digest, e.size, limit)
	switch {
	case err == nil:
		c.proven(e, found)
	case isDamage(err):
		c.dropDamaged(e, err)
	}
	return err
}

// proven notes that the file of e is right, and found to be such a manifest.
func (c *Cache) proven(e *entry, found typed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[e.digest] != e {
		return
	}
	e.verified = time.Now()
	if e.mediaType == "" && found.mediaType != "" {
		e.typed = found
		c.reclassify(e)
	}
	c.dirty[e.digest] = struct{}{}
}

// verifyFound hashes a file that was found and never hashed, one time for all who
// want it, and reports whether there was one. It gives up after call.Timeout, or
// with ctx: then the upstream may be asked.
func (c *Cache) verifyFound(ctx context.Context, ref oci.Ref) bool {
	c.mu.Lock()
	e := c.entries[ref.Digest()]
	if e == nil || e.isProven() || c.flights[keyOf(ref)] != nil || ref.Kind() == oci.Manifest && e.size > oci.MaxManifestSize {
		c.mu.Unlock()
		return false
	}
	verifying, _ := c.verifyings.Do(ref.Digest(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.prove(ctx, e, nil)
	})
	c.mu.Unlock()
	_, err := verifying.Wait(ctx, call.Endless)
	return err == nil
}

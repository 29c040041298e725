package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// errNotCached says that content is not cached.
var errNotCached = fmt.Errorf("not cached: %w", fs.ErrNotExist)

// What is wrong with a blob that is not as it was put. A missing file is
// fs.ErrNotExist.
var (
	errWrongSize  = errors.New("file has the wrong size")
	errCorrupt    = errors.New("file does not hash to its name")
	errUnreadable = errors.New("file cannot be read")
)

// isDamage reports whether err is about the blob and not about the disk or the
// process.
func isDamage(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errWrongSize) || errors.Is(err, errCorrupt) || errors.Is(err, errUnreadable)
}

// OpenCached opens ref, by digest, without the upstream. It fails with
// fs.ErrNotExist when ref is not cached, or its file is damaged or cannot be read,
// or with the end of ctx.
func (c *Cache) OpenCached(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	d := ref.Digest()
	c.mu.Lock()
	e := c.blobs.get(d)
	cached := e.serves(ref)
	if cached {
		c.blobs.touch(e)
	}
	if m, hot := c.hot.get(ref); hot {
		c.countSaved(ctx, ref)
		c.mu.Unlock()
		return inMemory(m.result(d, oci.Hit), m.raw), nil
	}
	if !cached {
		c.mu.Unlock()
		return nil, errNotCached
	}
	result := e.result(ref, oci.Hit)
	c.blobs.acquire(e)
	c.mu.Unlock()

	body, err := c.openEntry(ctx, e)
	if err != nil {
		c.release(e)
		return nil, c.noteUnopened(ctx, e, err)
	}
	content := &oci.Content{Result: result, Body: body, Done: func() { c.release(e) }}
	if ref.Kind() == oci.Manifest {
		return c.openManifest(ctx, content, ref, e)
	}
	return content, nil
}

// openEntry opens the file of e, and drops e when that is missing or has another
// size.
func (c *Cache) openEntry(ctx context.Context, e *entry) (io.ReadSeekCloser, error) {
	body, err := c.openFile(ctx, e.digest, e.size)
	switch {
	case err == nil:
		return body, nil
	case isDamage(err):
		c.evictor.dropDamaged(e, err)
		return nil, errNotCached
	}
	return nil, fmt.Errorf("open blob %s: %w", e.digest, err)
}

// openFile opens the file of d, which must have that size.
func (c *Cache) openFile(ctx context.Context, d oci.Digest, size int64) (io.ReadSeekCloser, error) {
	body, err := c.opts.Store.Open(ctx, d)
	if errors.Is(err, syscall.EIO) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err != nil {
		return nil, err
	}
	if err := checkFileSize(body, size); err != nil {
		_ = body.Close()
		return nil, err
	}
	return body, nil
}

func checkFileSize(body io.Seeker, want int64) error {
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

// noteUnopened notes that e could not be opened because of why, and returns what
// that is to the client: not cached. A fetch for everyone may bring it, to the disk
// if that works, and a manifest to memory in any case.
func (c *Cache) noteUnopened(ctx context.Context, e *entry, why error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !errors.Is(why, errNotCached) { // the disk or the process is at fault
		c.mu.Lock()
		c.blobs.fail(e)
		c.mu.Unlock()
		c.degrade(health.Disk, why)
	}
	return errNotCached
}

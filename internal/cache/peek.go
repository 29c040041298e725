package cache

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"mirrord/internal/oci"
)

// Blob returns what is known of the cached blob d, whatever it is; false if it is not
// cached. It looks in memory only, and may be called concurrently.
func (c *Cache) Blob(d oci.Digest) (BlobRecord, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blobs.get(d)
	if e == nil || !e.isVerified() || e.failing {
		return BlobRecord{}, false
	}
	return e.record(), true
}

// Peek returns the cached blob d, which has at most limit bytes, without that counting as
// a use of it. It fails with fs.ErrNotExist when there is no such blob, and when what the
// disk gives is damaged, which the next request for it finds out too.
func (c *Cache) Peek(ctx context.Context, d oci.Digest, limit int64) ([]byte, error) {
	c.mu.Lock()
	m, hot := c.hot.memory.Peek(d.String())
	c.mu.Unlock()
	if hot {
		return m.raw, nil
	}
	if blob, ok := c.Blob(d); !ok || blob.Size > limit {
		return nil, fmt.Errorf("%s: %w", d, fs.ErrNotExist)
	}
	body, err := c.opts.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && d.Algorithm().FromBytes(raw) != d {
		err = fmt.Errorf("%s: damaged: %w", d, fs.ErrNotExist)
	}
	return raw, err
}

package cache

import (
	"context"
	"errors"

	"mirrord/internal/oci"
)

// Reconciliation is what a walk over the directory found: blobs that the index did
// not know, records whose blob is missing or has another size, and strays, which
// are not blobs and are left alone.
type Reconciliation struct {
	Adopted, Lost, Strays int
}

// reconcile reconciles the directory with the index: a crash can leave a file that
// the index does not know, a person or a disk can remove one.
func (c *Cache) reconcile(ctx context.Context) {
	found, err := c.walk(ctx)
	if ctx.Err() != nil {
		return
	}
	c.trim()
	report2(c.opts.Hooks.Reconciled, found, err)
}

// walk is reconcile without what follows from it. It stops when ctx ends.
func (c *Cache) walk(ctx context.Context) (found Reconciliation, err error) {
	unseen := c.entries()
	var errs []error
	for blob, err := range c.opts.Store.All(ctx) {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		switch {
		case err != nil:
			errs = append(errs, err)
		case blob.Stray != "":
			found.Strays++
		case unseen[blob.Digest] != nil && unseen[blob.Digest].size == blob.Size:
			delete(unseen, blob.Digest)
		case c.adopt(blob):
			found.Adopted++
		default:
			c.removeUnwanted(blob)
		}
	}
	if len(errs) == 0 { // with errors, what was not seen may be there
		for _, e := range unseen {
			if c.dropLost(ctx, e) {
				found.Lost++
			}
		}
	}
	return found, errors.Join(errs...)
}

// entries returns what is cached now.
func (c *Cache) entries() map[oci.Digest]*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blobs.all()
}

// adopt caches a file that was not known, and reports whether it did: not if it is
// known, or there is no space without evicting what was used. The file is hashed
// before it is served, as a manifest too if it says that it is one.
func (c *Cache) adopt(b Blob) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isKnown(b.Digest) || !c.space.fits(b.Size) {
		return false
	}
	c.add(newEntry(BlobRecord{Descriptor: oci.Descriptor{Digest: b.Digest, Size: b.Size}, Used: b.ModTime}))
	return true
}

// isKnown reports whether d is cached, or its file is being removed or put. The
// caller holds mu.
func (c *Cache) isKnown(d oci.Digest) bool {
	return c.blobs.get(d) != nil || c.blobs.busy[d] != nil
}

// removeUnwanted removes a file that is not known and that there is no space for:
// most likely it was being evicted.
func (c *Cache) removeUnwanted(b Blob) {
	defer c.evictor.lock()()
	c.mu.Lock()
	if c.isKnown(b.Digest) || c.space.fits(b.Size) {
		c.mu.Unlock()
		return
	}
	v := c.evictor.condemnFile(b.Digest, b.Size)
	c.mu.Unlock()
	c.evictor.evict(batch{victims: []victim{v}})
}

// dropLost drops an entry whose file was not found, and reports whether it did: the
// file may have been put again meanwhile.
func (c *Cache) dropLost(ctx context.Context, e *entry) bool {
	if c.entryOf(e.digest) != e { // it was evicted meanwhile
		return false
	}
	body, err := c.openEntry(ctx, e)
	if err == nil {
		_ = body.Close()
	}
	return errors.Is(err, errNotCached)
}

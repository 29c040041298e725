package cache

import (
	"context"
	"errors"
	"maps"

	"mirrord/internal/oci"
)

// Reconciliation is what a walk over the directory found: blobs that the index
// did not know, records whose blob is gone or has another size, and what is no
// blob and is left alone.
type Reconciliation struct {
	Adopted, Lost, Strays int
}

// reconcile holds the directory against the index: a crash can leave a file
// that the index does not know, a person or a disk can take one away.
func (c *Cache) reconcile(ctx context.Context) {
	before := c.known()
	var found Reconciliation
	var errs []error
	for blob, err := range c.opts.Store.All(ctx) {
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			errs = append(errs, err)
		case blob.Stray != "":
			found.Strays++
		case before[blob.Digest] != nil && before[blob.Digest].size == blob.Size:
			delete(before, blob.Digest)
		case c.adopt(blob) != nil:
			found.Adopted++
		default:
			c.reject(blob)
		}
	}
	if len(errs) == 0 { // with errors, what was not seen may be there
		for _, e := range before {
			if c.lose(ctx, e) {
				found.Lost++
			}
		}
	}
	c.trim()
	report2(c.opts.Hooks.Reconciled, found, errors.Join(errs...))
}

// known returns what is kept now.
func (c *Cache) known() map[oci.Digest]*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.entries)
}

// adopt keeps a file that nobody knew, and returns its entry; nil when there is
// one, or no room without evicting what was used. Nobody has hashed the file: that
// is done before it is served, as a manifest too if it says that it is one.
func (c *Cache) adopt(b Blob) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[b.Digest] != nil || c.evicting[b.Digest] != nil || !c.fits(b) {
		return nil
	}
	e := newEntry(BlobRecord{Descriptor: oci.Descriptor{Digest: b.Digest, Size: b.Size}, Used: b.ModTime})
	c.keep(e)
	return e
}

// fits reports whether b finds room. The caller holds mu.
func (c *Cache) fits(b Blob) bool { return c.used+c.reserved+b.Size <= c.opts.MaxSize }

// reject removes a file that nobody knew and that there is no room for: most
// likely it was being evicted.
func (c *Cache) reject(b Blob) {
	defer c.makeAlone()()
	c.mu.Lock()
	unwanted := c.entries[b.Digest] == nil && c.evicting[b.Digest] == nil && !c.fits(b)
	v := victim{digest: b.Digest, size: b.Size, gone: make(chan struct{})}
	if unwanted {
		c.evicting[b.Digest] = v.gone
		c.leaving += v.size
	}
	c.mu.Unlock()
	if unwanted {
		c.evict(condemned{victims: []victim{v}})
	}
}

// lose drops the record of a blob whose file was not found, unless it can be
// opened after all: it may have been put again meanwhile.
func (c *Cache) lose(ctx context.Context, e *entry) bool {
	if c.entryOf(e.digest) != e { // it was evicted meanwhile
		return false
	}
	body, err := c.openStored(ctx, e)
	if err == nil {
		_ = body.Close()
	}
	return errors.Is(err, errNotCached)
}

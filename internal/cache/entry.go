package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// entry is one blob that is kept.
type entry struct {
	digest oci.Digest
	typed
	size     int64
	used     time.Time
	verified time.Time // when its bytes were last hashed; zero: never, the file was found
	readers  int       // who reads it now; it is not evicted meanwhile

	config   oci.Digest // that it names, if it is a manifest that has been read
	metadata bool       // it counts among manifests and configs
	failing  bool       // the disk has not given it: as good as absent until the disk works again
}

func newEntry(r BlobRecord) *entry {
	return &entry{digest: r.Digest, typed: typed{r.MediaType, r.Origin}, size: r.Size, used: r.Used, verified: r.Verified}
}

func (e *entry) record() BlobRecord {
	return BlobRecord{
		Descriptor: oci.Descriptor{Digest: e.digest, MediaType: e.mediaType, Size: e.size},
		Origin:     e.origin,
		Used:       e.used,
		Verified:   e.verified,
	}
}

// isProven reports whether somebody has hashed the file.
func (e *entry) isProven() bool { return !e.verified.IsZero() }

// serves reports whether the entry can answer a request for ref: a manifest's
// media type is known only when it was fetched as a manifest.
func (e *entry) serves(ref oci.Ref) bool {
	return e != nil && e.isProven() && !e.failing && (ref.Kind() != oci.Manifest || e.appliesTo(ref))
}

func (e *entry) answer(ref oci.Ref, via oci.Via) oci.Result {
	a := oci.Result{Descriptor: oci.Descriptor{Digest: ref.Digest(), Size: e.size}, Via: via}
	if ref.Kind() == oci.Manifest {
		a.MediaType = e.mediaType
	}
	return a
}

// touch notes that e was used. The caller holds mu.
func (c *Cache) touch(e *entry) {
	e.used = time.Now()
	c.dirty[e.digest] = struct{}{}
	c.policyOf(e).Touch(e.digest)
}

// lend counts one more reader of e, which may not be kept yet. The caller holds
// mu.
func (c *Cache) lend(e *entry) {
	e.readers++
	if e.readers == 1 && c.entries[e.digest] == e {
		c.reading += e.size
	}
}

// giveBack counts one reader less.
func (c *Cache) giveBack(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.readers--
	if e.readers == 0 && c.entries[e.digest] == e {
		c.reading -= e.size
	}
}

// openCached opens cached content. It fails with errNotCached when ref is not cached,
// or its file is not what was put or cannot be read, or with the end of ctx.
func (c *Cache) openCached(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	d := ref.Digest()
	c.mu.Lock()
	e := c.entries[d]
	kept := e.serves(ref)
	if kept {
		c.touch(e)
	}
	if m, hot := c.hotManifest(ref); hot {
		c.countSaved(ref)
		c.mu.Unlock()
		return inMemory(m.answer(d, oci.Hit), m.raw), nil
	}
	if !kept {
		c.mu.Unlock()
		return nil, errNotCached
	}
	answer := e.answer(ref, oci.Hit)
	c.lend(e)
	c.mu.Unlock()

	body, err := c.openStored(ctx, e)
	if err != nil {
		c.giveBack(e)
		return nil, c.failed(ctx, e, err)
	}
	content := &oci.Content{Result: answer, Body: body, Done: func() { c.giveBack(e) }}
	if ref.Kind() == oci.Manifest {
		return c.remember(content, ref, e)
	}
	return content, nil
}

// openStored opens a blob and drops it when it is gone or not of its size.
func (c *Cache) openStored(ctx context.Context, e *entry) (io.ReadSeekCloser, error) {
	body, err := c.openSized(ctx, e.digest, e.size)
	switch {
	case err == nil:
		return body, nil
	case isDamage(err):
		c.dropDamaged(e, err)
		return nil, errNotCached
	}
	return nil, fmt.Errorf("open blob %s: %w", e.digest, err)
}

// failed notes that e could not be opened and makes of why what that is to who
// wants it: absent. A fetch for all of them at once may bring it, to the disk if
// that takes it, and a manifest to memory in any case.
func (c *Cache) failed(ctx context.Context, e *entry, why error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !errors.Is(why, errNotCached) { // the disk or the process is at fault
		c.mu.Lock()
		e.failing = true
		c.failing = append(c.failing, e)
		c.mu.Unlock()
		c.degrade(health.Disk, why)
	}
	return errNotCached
}

// dropDamaged forgets a blob that is not what was put, unless another has
// forgotten it already: the digest may be kept anew.
func (c *Cache) dropDamaged(e *entry, why error) {
	defer c.makeAlone()()
	c.mu.Lock()
	if c.entries[e.digest] != e {
		c.mu.Unlock()
		return
	}
	v := c.sentence(e)
	c.mu.Unlock()
	report2(c.opts.Hooks.Damaged, e.digest, why)
	c.remove([]victim{v})
}

// forget drops the entry of d. The caller holds mu.
func (c *Cache) forget(d oci.Digest) {
	e := c.entries[d]
	if e == nil {
		return
	}
	delete(c.entries, d)
	delete(c.dirty, d)
	delete(c.configs, e.config)
	c.declassify(e)
	c.manifests.Remove(d.String())
	c.used -= e.size
	if e.readers > 0 {
		c.reading -= e.size
	}
}

// keep keeps e, most recently used, in the place of what its digest had. What
// was fetched as a manifest before stays one. The caller holds mu.
func (c *Cache) keep(e *entry) {
	if old := c.entries[e.digest]; old != nil && e.mediaType == "" {
		e.typed, e.config = old.typed, old.config
	}
	c.forget(e.digest)
	c.entries[e.digest] = e
	c.classify(e)
	c.noteConfig(e, e.config)
	c.used += e.size
	if e.readers > 0 {
		c.reading += e.size
	}
}

func report[A any](hook func(A), a A) {
	if hook != nil {
		hook(a)
	}
}

func report2[A, B any](hook func(A, B), a A, b B) {
	if hook != nil {
		hook(a, b)
	}
}

package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// ErrNoSpace says that content does not fit into the cache beside what is in use.
var ErrNoSpace = fmt.Errorf("%w: cache.max_size or cache.min_free allows no more beside what is in use", errNoSpace)

// Linker is a Store that can take a file without copying it.
type Linker interface {
	// Link stores f, an open regular file, as d by a hard link, durably when it
	// returns. The content is not verified. It fails with fs.ErrExist when something
	// is stored as d, and where the file system allows no link.
	Link(ctx context.Context, d oci.Digest, f *os.File) error
}

// putPrefix begins the names of files that are being put. They are not those of parts:
// the next start removes them.
const putPrefix = "put-"

// Put caches size bytes of source as d, which come from elsewhere than an upstream, once
// they are verified: they are evicted for, and evicted, like what a fill has fetched. It
// reads nothing when d is cached. It fails with oci.ErrCorrupt, io.ErrUnexpectedEOF or
// ErrNoSpace, with an error of source or of the disk, or when ctx ends.
func (c *Cache) Put(ctx context.Context, d oci.Digest, size int64, source io.Reader) error {
	ctx, end, err := c.working(ctx)
	if err != nil {
		return err
	}
	defer end()
	if c.has(d) {
		return nil
	}
	l := c.newPut(d)
	if l.reservation, err = c.reserve(l.flight.ref, size, 0); err != nil {
		return ErrNoSpace
	}
	found, err := l.put(ctx, oci.Descriptor{Digest: d, Size: size}, source)
	return l.landPut(size, found, err)
}

// newPut returns what stores d without a flight that others could join: what is put
// says nothing of a repository.
func (c *Cache) newPut(d oci.Digest) *fill {
	return &fill{cache: c, flight: &flight{ref: oci.Ref{}.At(d), entry: &entry{digest: d}}, yields: true}
}

// put writes, verifies and stores the content, in the space that is reserved. It returns
// the media type that the content says it has, if it is a manifest.
func (l *fill) put(ctx context.Context, want oci.Descriptor, source io.Reader) (manifest, error) {
	c := l.cache
	file, err := c.partDir.create(putPrefix)
	if err != nil {
		return manifest{}, fmt.Errorf("%w: %w", spool.ErrDisk, err)
	}
	l.part = part{file: file, path: file.Name()}
	l.spool = spool.New(want.Size, 0, c.evictor.write)
	l.spool.Begin(file, 0)
	defer l.spool.Release()
	c.mu.Lock()
	l.reservation.spool = l.spool
	c.mu.Unlock()

	var raw bytes.Buffer
	source = &paced{ctx: ctx, body: source}
	if want.Size <= oci.MaxManifestSize {
		source = io.TeeReader(source, &raw)
	}
	l.flight.source = &oci.Content{Result: oci.Result{Descriptor: want}, Body: io.NopCloser(source)}
	if err := l.copy(); err != nil {
		c.noteDisk(err)
		c.countOpen(l.spool)
		removePart(l.part)
		return manifest{}, putError(want, err)
	}
	l.spool.Finish(nil)
	err = l.store()
	c.noteDisk(err)
	return manifest{foundType(raw.Bytes()), raw.Bytes()}, err
}

// putError is the error of content that was copied from no upstream.
func putError(want oci.Descriptor, err error) error {
	switch {
	case errors.Is(err, errNoSpace):
		return ErrNoSpace
	case errors.Is(err, oci.ErrCorrupt):
		return fmt.Errorf("%w %s", oci.ErrCorrupt, want.Digest)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s is shorter than %d bytes: %w", want.Digest, want.Size, io.ErrUnexpectedEOF)
	}
	return err
}

// Link is Put for the content of f, a file of size bytes, which is hashed and then shared
// with its owner by a hard link. It fails with errors.ErrUnsupported when the Store
// cannot link, and with fs.ErrExist when it has a file of d that was not verified yet.
func (c *Cache) Link(ctx context.Context, d oci.Digest, size int64, f *os.File) error {
	linker, ok := c.opts.Store.(Linker)
	if !ok {
		return errors.ErrUnsupported
	}
	ctx, end, err := c.working(ctx)
	if err != nil {
		return err
	}
	defer end()
	if c.has(d) {
		return nil
	}
	l := c.newPut(d)
	c.mu.Lock()
	c.space.claimed += size // it is on the disk already
	c.mu.Unlock()
	if l.reservation, err = c.reserve(l.flight.ref, size, size); err != nil {
		c.mu.Lock()
		c.space.claimed -= size
		c.mu.Unlock()
		return ErrNoSpace
	}
	found, err := l.link(ctx, linker, size, f)
	return l.landPut(size, found, err)
}

// link links the file, and removes the link when the content is not that of the digest.
func (l *fill) link(ctx context.Context, linker Linker, size int64, f *os.File) (manifest, error) {
	c, d := l.cache, l.flight.ref.Digest()
	if _, err := l.lockFile(); err != nil {
		return manifest{}, err
	}
	if err := linker.Link(ctx, d, f); err != nil {
		return manifest{}, err
	}
	raw, err := c.hashRaw(ctx, d, size, nil)
	if err != nil {
		_ = c.opts.Store.Remove(context.WithoutCancel(ctx), d)
	}
	if errors.Is(err, errCorrupt) {
		err = fmt.Errorf("%w %s", oci.ErrCorrupt, d)
	}
	return manifest{foundType(raw), raw}, err
}

// landPut makes what was put an entry, unless err is set, and ends its reservation. It
// returns why the content is not cached.
func (l *fill) landPut(size int64, found manifest, err error) error {
	c, e := l.cache, l.flight.entry
	c.mu.Lock()
	c.space.end(l.reservation)
	if err == nil {
		if found.mediaType != "" {
			e.typed, e.config = found.typed, configOf(found.raw)
		}
		l.addEntry(size)
	}
	if l.unlock != nil {
		l.unlock()
	}
	c.mu.Unlock()
	if err == nil {
		c.recorder.save(e.digest)
	}
	if errors.Is(err, errCached) {
		return nil
	}
	return err
}

// MaxSize is how many bytes the cache may take now.
func (c *Cache) MaxSize() int64 { return c.limits.Load().MaxSize }

// has reports whether d is cached and verified.
func (c *Cache) has(d oci.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blobs.get(d)
	return e != nil && e.isVerified() && !e.failing
}

// Hold keeps what is cached of ds from being evicted until release, which is called once.
// What is not cached, or was never verified, is missing.
func (c *Cache) Hold(ds ...oci.Digest) (missing []oci.Digest, release func()) {
	var held []*entry
	c.mu.Lock()
	for _, d := range ds {
		if e := c.blobs.get(d); e != nil && e.isVerified() && !e.failing {
			c.blobs.acquire(e)
			held = append(held, e)
		} else {
			missing = append(missing, d)
		}
	}
	c.mu.Unlock()
	return missing, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, e := range held {
			c.blobs.release(e)
		}
	}
}

// Fetch caches ref, by digest, as Open does, and returns when it is on the disk. It fails
// as Open does, and as Stored.
func (c *Cache) Fetch(ctx context.Context, ref oci.Ref) error {
	content, err := c.OpenWithin(ctx, ref, call.Endless)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, content.Body)
	if err := errors.Join(err, content.Close()); err != nil {
		return err
	}
	return c.Stored(ctx, ref)
}

// Stored waits until ref, by digest, which was read to its end, is on the disk: the last
// byte comes before the file is in place. It fails when ref is not cached, with ErrNoSpace
// unless the disk fails, and when ctx ends.
func (c *Cache) Stored(ctx context.Context, ref oci.Ref) error {
	c.mu.Lock()
	f := c.flights.of(ref)
	c.mu.Unlock()
	if f != nil {
		select {
		case <-f.ctx.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	switch disk := c.health.Degraded()[health.Disk]; {
	case c.has(ref.Digest()):
		return nil
	case c.runner.Stopped():
		return call.ErrShutdown
	case disk != nil:
		return fmt.Errorf("%s was fetched and is not cached: %w; mirrord doctor says more", ref, disk)
	}
	return fmt.Errorf("%s was fetched and is not cached: %w; raise cache.max_size, or free space on the disk", ref, ErrNoSpace)
}

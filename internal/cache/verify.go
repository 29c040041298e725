package cache

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/time/rate"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// Findings are what Verify has found, so far or in all.
type Findings struct {
	Blobs   int64 // files that are what their name says
	Bytes   int64 // of files that were read
	Of      int64 // bytes of all files: what there was to read at the beginning
	Damaged int64 // files that are not what their name says, or cannot be read
	Lost    int64 // kept, and the file is gone
	Unknown int64 // files that the index does not know
	Strays  int64 // files that are no blobs
}

// Wrong is how much of it needs repair. A file that was not known is what a
// crash leaves, and is made known by itself.
func (f Findings) Wrong() int64 { return f.Damaged + f.Lost + f.Strays }

// Fault is one thing that is wrong.
type Fault struct {
	Name string // the digest, or the name of a stray
	Err  error
}

// VerifyOptions of a Verify may be zero.
type VerifyOptions struct {
	Repair bool // drop what is wrong
	Rate   int  // bytes a second that are read at most; 0: as fast as it goes
}

// verification is one run of Verify.
type verification struct {
	cache  *Cache
	found  Findings
	repair bool
	limit  *rate.Limiter // nil: none
	tell   func(Findings, *Fault)
}

// Verify hashes every file and holds the directory against the index, while the
// cache serves or before Run. With Repair it drops what is damaged, lost or
// stray, which is fetched again when it is asked for, and keeps what is right
// and was not known. tell is called after each file, with what is wrong with it
// or nil. Verify fails when ctx ends or the directory cannot be walked, and then
// returns what it has found so far.
func (c *Cache) Verify(ctx context.Context, o VerifyOptions, tell func(Findings, *Fault)) (Findings, error) {
	ctx, end, err := c.working(ctx)
	if err != nil {
		return Findings{}, err
	}
	defer end()
	v := &verification{cache: c, repair: o.Repair, tell: tell}
	if o.Rate > 0 {
		v.limit = rate.NewLimiter(rate.Limit(o.Rate), copyBuffer)
	}
	for blob := range c.opts.Store.All(ctx) { // what cannot be walked is told below
		v.found.Of += blob.Size
	}
	unseen := c.known()
	var errs []error
	for blob, err := range c.opts.Store.All(ctx) {
		switch {
		case err != nil:
			errs = append(errs, err)
		case blob.Stray != "":
			errs = append(errs, v.stray(ctx, blob.Stray))
		default:
			delete(unseen, blob.Digest)
			errs = append(errs, v.file(ctx, blob))
		}
		if ctx.Err() != nil {
			return v.found, context.Cause(ctx)
		}
	}
	if err := errors.Join(errs...); err != nil { // what was not seen may be there
		return v.found, err
	}
	for d, e := range unseen {
		v.missing(ctx, d, e)
	}
	c.flush()
	return v.found, nil
}

// working returns a context that ends with the cache's as well; until end the
// cache is not shut down.
func (c *Cache) working(ctx context.Context) (bounded context.Context, end func(), err error) {
	done, ok := c.runner.Hold()
	if !ok {
		return nil, nil, call.ErrShutdown
	}
	bounded, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.runner.Context(), func() { cancel(call.ErrShutdown) })
	return bounded, func() {
		stop()
		cancel(nil)
		done()
	}, nil
}

var errStray = errors.New("no blob has this name")

func (v *verification) stray(ctx context.Context, name string) error {
	v.found.Strays++
	v.tell(v.found, &Fault{name, errStray})
	if v.repair {
		return v.cache.opts.Store.Discard(ctx, name)
	}
	return nil
}

// file hashes one file. It fails when ctx ends.
func (v *verification) file(ctx context.Context, b Blob) error {
	e := v.cache.entryOf(b.Digest)
	if e == nil || !e.isProven() {
		v.found.Unknown++
	}
	if e == nil && v.repair {
		e = v.cache.adopt(b)
	}
	size := b.Size
	if e != nil {
		size = e.size
	}
	found, err := v.cache.hash(ctx, b.Digest, size, v.limit)
	v.found.Bytes += b.Size
	switch {
	case err == nil:
		v.found.Blobs++
		if e != nil {
			v.cache.proven(e, found)
		}
		v.tell(v.found, nil)
	case errors.Is(err, fs.ErrNotExist): // evicted since the walk saw it, or lost
		v.missing(ctx, b.Digest, e)
	case isDamage(err):
		v.found.Damaged++
		v.tell(v.found, &Fault{b.Digest.String(), err})
		if v.repair && e != nil {
			v.cache.dropDamaged(e, err)
		}
	case ctx.Err() != nil:
		return err
	default: // it may be right, and the disk at fault: it stays
		v.found.Damaged++
		v.tell(v.found, &Fault{b.Digest.String(), err})
	}
	return nil
}

// missing looks once more for a file that was not there: it may have been
// evicted, or put since.
func (v *verification) missing(ctx context.Context, d oci.Digest, e *entry) {
	if e == nil || v.cache.entryOf(d) != e {
		return
	}
	body, err := v.cache.opts.Store.Open(ctx, d)
	if err == nil {
		_ = body.Close()
		return
	}
	v.found.Lost++
	v.tell(v.found, &Fault{d.String(), err})
	if v.repair && errors.Is(err, fs.ErrNotExist) {
		v.cache.dropDamaged(e, err)
	}
}

func (c *Cache) entryOf(d oci.Digest) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[d]
}

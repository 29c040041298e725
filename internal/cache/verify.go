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
	Blobs   int64 // files that are intact
	Bytes   int64 // of files that were read
	Of      int64 // bytes of all files: what there was to read at the beginning
	Damaged int64 // files that do not hash to their name, or cannot be read
	Lost    int64 // cached blobs whose file is missing
	Unknown int64 // files that the index does not know
	Strays  int64 // files that are not blobs
}

// Wrong is how many of them need repair. A file that was not known is what a crash
// leaves, and is adopted anyway.
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
	cache    *Cache
	found    Findings
	repair   bool
	limit    *rate.Limiter // nil: none
	progress func(Findings, *Fault)
}

// Verify hashes every file and compares the directory with the index, while the
// cache serves or before Run. With Repair it drops what is damaged, lost or stray,
// which is fetched again when it is asked for, and adopts what is intact and was not
// known. progress is called after each file, with what is wrong with it or nil.
// Verify fails when ctx ends or the directory cannot be walked, and then returns
// what it has found so far.
func (c *Cache) Verify(ctx context.Context, o VerifyOptions, progress func(Findings, *Fault)) (Findings, error) {
	ctx, end, err := c.working(ctx)
	if err != nil {
		return Findings{}, err
	}
	defer end()
	v := &verification{cache: c, repair: o.Repair, progress: progress}
	if o.Rate > 0 {
		v.limit = rate.NewLimiter(rate.Limit(o.Rate), copyBuffer)
	}
	for blob := range c.opts.Store.All(ctx) { // errors are returned by the second walk
		v.found.Of += blob.Size
	}
	unseen := c.entries()
	if err := v.walk(ctx, unseen); err != nil { // what was not seen may be there
		return v.found, err
	}
	for d, e := range unseen {
		v.missing(ctx, d, e)
	}
	c.recorder.flush()
	return v.found, nil
}

// working returns a context that ends with the cache's as well; until end the cache
// is not shut down.
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

// walk verifies every file, and removes what it has seen from unseen.
func (v *verification) walk(ctx context.Context, unseen map[oci.Digest]*entry) error {
	var errs []error
	for blob, err := range v.cache.opts.Store.All(ctx) {
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
			return context.Cause(ctx)
		}
	}
	return errors.Join(errs...)
}

var errStray = errors.New("no blob has this name")

func (v *verification) stray(ctx context.Context, name string) error {
	v.found.Strays++
	v.progress(v.found, &Fault{name, errStray})
	if v.repair {
		return v.cache.opts.Store.Discard(ctx, name)
	}
	return nil
}

// file hashes one file. It fails when ctx ends.
func (v *verification) file(ctx context.Context, b Blob) error {
	c := v.cache
	e := c.entryOf(b.Digest)
	if e == nil || !e.isVerified() {
		v.found.Unknown++
	}
	if e == nil && v.repair && c.adopt(b) {
		e = c.entryOf(b.Digest)
	}
	size := b.Size
	if e != nil {
		size = e.size
	}
	found, err := c.hash(ctx, b.Digest, size, v.limit)
	v.found.Bytes += b.Size
	switch {
	case err == nil:
		v.found.Blobs++
		if e != nil {
			c.noteVerified(e, found)
		}
		v.progress(v.found, nil)
	case errors.Is(err, fs.ErrNotExist): // evicted since the walk saw it, or lost
		v.missing(ctx, b.Digest, e)
	case ctx.Err() != nil:
		return err
	default:
		v.damaged(b.Digest, e, err)
	}
	return nil
}

// damaged notes a file that is damaged, or that cannot be read: then it may be
// intact and the disk at fault, and it stays.
func (v *verification) damaged(d oci.Digest, e *entry, why error) {
	v.found.Damaged++
	v.progress(v.found, &Fault{d.String(), why})
	if v.repair && e != nil && isDamage(why) {
		v.cache.evictor.dropDamaged(e, why)
	}
}

// missing looks once more for a file that was not there: it may have been evicted,
// or put since.
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
	v.progress(v.found, &Fault{d.String(), err})
	if v.repair && errors.Is(err, fs.ErrNotExist) {
		v.cache.evictor.dropDamaged(e, err)
	}
}

package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/oci"
)

const (
	busyPause = time.Second // before a mirror that cannot send anything yet is asked again
	slowStore = 8 << 20     // bytes a second: slower uploads are not waited for
)

// follow is the search for somebody who has ref from an offset on, while another mirror
// holds the lease.
type follow struct {
	registry *Registry
	ref      oci.Ref
	seen     *lease.Seen // nil: nobody
	from     int64
	broken   bool // seen has broken off, and is not asked again
	begun    bool // the client has its response, and waits as long as there is progress
}

// found is what a follow has come to; zero: the mirror is alone.
type found struct {
	stream *sibling.Stream // of the holder
	seen   *lease.Seen     // whose lease it is
	cancel context.CancelCauseFunc
	lease  *lease.Lease // that was taken over
	object bool         // it is in the bucket by now
	later  bool         // seen says the size, and cannot send anything yet
}

// next finds the next source. It stops waiting when waiting ends, and when the holder makes no
// progress or cannot be reached; ctx bounds a stream.
func (f *follow) next(ctx, waiting context.Context) found {
	have, since, reached := int64(-1), time.Now(), true
	for f.seen != nil && waiting.Err() == nil && !f.registry.avoids(f.seen.Boot) {
		if f.seen.Have > have && reached {
			have, since = f.seen.Have, time.Now()
		}
		if time.Since(since) > f.limit() {
			break
		}
		if !f.broken && !f.seen.Over() {
			got, err := f.ask(ctx, waiting)
			if err == nil {
				return got
			}
			if errors.Is(err, sibling.ErrBusy) {
				if f.look(waiting); f.answerable() {
					return found{seen: f.seen, later: true}
				}
				if f.mayBeShared() && f.inBucket(waiting) {
					return found{object: true, seen: f.seen}
				}
				continue
			}
		}
		f.broken, reached = false, false
		if f.inBucket(waiting) {
			return found{object: true, seen: f.seen}
		}
		var held *lease.Lease
		if held, f.seen = f.registry.opts.Work.Leases.TakeOver(waiting, f.seen); held != nil {
			return found{lease: held}
		}
	}
	return found{}
}

// limit is how long to wait while the holder makes no progress.
func (f *follow) limit() time.Duration {
	if f.seen.Whole() {
		return stuckTime + time.Duration(f.seen.Size/slowStore)*time.Second
	}
	return stallTime
}

// answerable reports whether a client that has waited for nothing but a stream can have its
// response: the size is all that it needs.
func (f *follow) answerable() bool {
	return !f.begun && f.seen != nil && f.ref.Kind() == oci.Blob && f.seen.Size > 0
}

// mayBeShared reports whether the bucket is worth a request: the holder uploads what it has
// whole. Of what is small it never says how much it has.
func (f *follow) mayBeShared() bool {
	return f.seen != nil && (f.seen.Size < 0 || f.seen.Whole())
}

// ask asks the holder. When waiting ends before it answers, that fails.
func (f *follow) ask(ctx, waiting context.Context) (found, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(waiting, func() { cancel(context.Cause(waiting)) })
	stream, err := f.registry.opts.Work.Siblings.Open(ctx, sibling.Target{Addr: f.seen.Addr, Boot: f.seen.Boot}, f.ref.Digest(), f.from)
	if !stop() && err == nil {
		err = errors.Join(context.Cause(waiting), stream.Close())
	}
	if err == nil && f.seen.Size >= 0 && stream.Size != f.seen.Size { // a client would be told the wrong size
		err = fmt.Errorf("%w: it has %d bytes of %s, and its lease says %d", oci.ErrCorrupt, stream.Size, f.ref, f.seen.Size)
		_ = stream.Close()
	}
	if err != nil {
		cancel(nil)
		return found{}, err
	}
	if beat := oci.Progress(ctx); beat != nil {
		beat()
	}
	return found{stream: stream, seen: f.seen, cancel: cancel}, nil
}

// look waits, and reads the lease again: its holder may have something to send by now, or
// another one holds it.
func (f *follow) look(waiting context.Context) {
	if !call.Sleep(waiting, busyPause/2+rand.N(busyPause)) {
		return
	}
	now, err := f.registry.opts.Work.Leases.Watch(waiting, f.seen)
	if err == nil || errors.Is(err, bucket.ErrAbsent) {
		f.seen = now // else it expires
	}
}

// watch reads the lease again after a stream of its holder has ended.
func (f *follow) watch(waiting context.Context) {
	now, err := f.registry.opts.Work.Leases.Watch(waiting, f.seen)
	if err != nil {
		return // TakeOver finds out
	}
	f.broken = f.broken && now.Boot == f.seen.Boot
	f.seen = now
}

// inBucket reports whether the bucket has ref. Of what is large it asks for the last byte.
func (f *follow) inBucket(ctx context.Context) bool {
	from := f.from
	if f.seen != nil {
		from = max(from, f.seen.Size-1)
	}
	o, err := f.registry.get(ctx, keys.Blob(f.ref.Digest()), from, "", new(pace))
	if err != nil {
		return false
	}
	_ = o.Body.Close()
	return true
}

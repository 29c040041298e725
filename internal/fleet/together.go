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

// Role of a mirror for content that the bucket does not have.
type Role string

// The roles.
const (
	Holder   Role = "holder"   // it fetches the content for all
	Waiter   Role = "waiter"   // it reads it from the holder
	Takeover Role = "takeover" // it fetches it after the holder could not
	Alone    Role = "alone"    // it fetches it for itself: the others cannot be asked, or have tried too often
)

// Roles are all of them.
var Roles = []Role{Holder, Waiter, Takeover, Alone}

const (
	patience    = 6 * time.Second        // until another mirror sends the first byte: then the upstream is asked
	breakPause  = 250 * time.Millisecond // before another mirror is asked again
	busyPause   = time.Second            // before one that cannot send anything yet is
	quietTime   = 3 * time.Second        // without a byte from another mirror, after which its lease is looked at
	watchEvery  = 2 * time.Second
	stuckTime   = 30 * time.Second // for which a holder may renew its lease and fetch nothing
	avoidTime   = 10 * time.Minute // for which a mirror that has sent wrong bytes is not read from
	maxSwitches = 8                // of one body from one mirror to the next
	slowStore   = 8 << 20          // bytes a second: slower uploads are not waited for
)

func (r *Registry) noteRole(role Role) {
	if report := r.opts.Hooks.Role; report != nil {
		report(role)
	}
}

// worksTogether reports whether who fetches ref is agreed on with others. What may be private
// is nobody else's business.
func (r *Registry) worksTogether(ref oci.Ref) bool {
	w := r.opts.Work
	return w != nil && w.Ready() && r.opts.Public(ref)
}

// openTogether opens what the bucket does not have: at the upstream, for all, or at the
// mirror that fetches it.
func (r *Registry) openTogether(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if !r.worksTogether(ref) {
		return r.opts.Next.Open(ctx, ref)
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	held, seen := r.opts.Work.Leases.Acquire(waiting, ref.Digest())
	if held != nil {
		r.noteRole(Holder)
		return r.openLeased(ctx, ref, held)
	}
	f := follow{registry: r, ref: ref, seen: seen, from: oci.PartHint(ctx).Begin}
	if ref.Kind() == oci.Manifest {
		f.from = 0
	}
	return r.openFound(ctx, ref, f.next(ctx, waiting))
}

// openFound opens what following another mirror has found.
func (r *Registry) openFound(ctx context.Context, ref oci.Ref, found found) (*oci.Content, error) {
	switch {
	case found.lease != nil:
		r.noteRole(Takeover)
		return r.openLeased(ctx, ref, found.lease)
	case found.stream != nil && ref.Kind() == oci.Manifest:
		r.noteRole(Waiter)
		content, err := r.readPeerManifest(ref, found)
		return r.orUpstream(ctx, ref, content, err)
	case found.stream != nil:
		r.noteRole(Waiter)
		b := r.newBody(ctx, ref)
		b.usePeer(found)
		return b.content(oci.Peer), nil
	case found.later:
		r.noteRole(Waiter)
		b := r.newBody(ctx, ref)
		b.waitForPeer(found)
		return b.content(oci.Peer), nil
	case found.object:
		content, err := r.openShared(ctx, ref, keys.Blob(ref.Digest()), found.seen.Size)
		if errors.Is(err, bucket.ErrSlow) {
			content, err = r.openShared(ctx, ref, keys.Blob(ref.Digest()), found.seen.Size)
		}
		return r.orUpstream(ctx, ref, content, err)
	}
	r.noteRole(Alone)
	return r.opts.Next.Open(ctx, ref)
}

// readPeerManifest reads a manifest from another mirror.
func (r *Registry) readPeerManifest(ref oci.Ref, found found) (*oci.Content, error) {
	timer := time.AfterFunc(manifestTime, func() { found.cancel(errStuck) })
	defer timer.Stop()
	defer found.cancel(nil)
	content, err := readManifest(ref, found.stream, oci.Peer)
	if errors.Is(err, oci.ErrCorrupt) {
		r.avoid(found.seen)
		r.noteCorrupt(ref, "", "")
	}
	return content, err
}

// openLeased asks the upstream for all mirrors.
func (r *Registry) openLeased(ctx context.Context, ref oci.Ref, held *lease.Lease) (*oci.Content, error) {
	content, err := r.opts.Next.Open(ctx, ref)
	if err != nil {
		held.Fail(oci.CodeOf(err))
		return nil, err
	}
	held.Progress(0, content.Size)
	content.Body = oci.Verify(newLeased(oci.Unverified(content.Body), held, content.Size), content.Descriptor)
	return content, nil
}

// keep holds the lease for d while that is on its way into the bucket.
func (r *Registry) keep(d oci.Digest) {
	if w := r.opts.Work; w != nil {
		w.Leases.Keep(d)
	}
}

// release ends the lease for d, which is in the bucket now or will not get there.
func (r *Registry) release(d oci.Digest) {
	if w := r.opts.Work; w != nil {
		w.Leases.Done(d)
	}
}

func (r *Registry) avoid(seen *lease.Seen) { r.avoided.Add(seen.Boot, time.Now()) }

func (r *Registry) avoids(boot string) bool {
	since, ok := r.avoided.Get(boot)
	return ok && time.Since(since) < avoidTime
}

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

// peerStream is a stream of the holder of a lease, which ends when that neither sends
// anything nor fetches.
type peerStream struct {
	found
	leases *lease.Leases
}

var errStuck = errors.New("the other mirror sends nothing")

func (s *peerStream) Read(p []byte) (int, error) {
	done := make(chan struct{})
	timer := time.AfterFunc(quietTime, func() { s.watch(done) })
	n, err := s.stream.Read(p)
	close(done)
	timer.Stop()
	return n, err
}

// watch looks at the lease until done is closed, and ends the stream when nothing is to be
// expected of it.
func (s *peerStream) watch(done <-chan struct{}) {
	have, since := s.seen.Have, time.Now()
	seen := s.seen
	for {
		ctx, cancel := context.WithTimeoutCause(context.Background(), watchEvery, bucket.ErrTimeout)
		now, err := s.leases.Watch(ctx, seen)
		cancel()
		if err == nil {
			seen = now
		}
		if err == nil && now.Have > have {
			have, since = now.Have, time.Now()
		}
		lost := errors.Is(err, bucket.ErrAbsent) || err == nil && (now.Over() || now.Boot != s.seen.Boot) || time.Since(since) > stuckTime
		select {
		case <-done:
			return
		default:
		}
		if lost {
			s.found.cancel(errStuck)
			return
		}
		timer := time.NewTimer(watchEvery)
		select {
		case <-done:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *peerStream) Close() error {
	s.found.cancel(nil)
	return s.stream.Close()
}

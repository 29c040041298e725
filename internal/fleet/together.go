package fleet

import (
	"context"
	"errors"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
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
	quietTime   = 3 * time.Second        // without a byte from another mirror, after which its lease is looked at
	watchEvery  = 2 * time.Second
	stuckTime   = 30 * time.Second // for which a holder may renew its lease and fetch nothing
	avoidTime   = 10 * time.Minute // for which a mirror that has sent wrong bytes is not read from
	maxSwitches = 8                // of one body from one mirror to the next
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

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/oci"
)

// body reads a blob from the bucket or from another mirror, from the offset of the last
// Seek. When that breaks off it goes on where it was, from whoever has the rest, and at last
// from the upstream.
type body struct {
	registry *Registry
	ctx      context.Context
	ref      oci.Ref
	key      string // of the object that may have it
	offset   int64  // of the next Read

	known    bool   // after the first response, which sets size; it never changes then
	size     int64  // in bytes
	etag     string // of the object; empty: none was read
	failed   bool   // since the last byte
	pace     pace   // of the bucket
	switches int    // from another mirror to whatever came next

	source   io.ReadCloser // at offset, of the bucket or a mirror; nil when not connected
	peer     *found        // the mirror that is read; nil: the bucket
	peers    []*lease.Seen // all mirrors that were read
	upstream *upstream     // once it is read instead
	held     *lease.Lease  // that was taken over with it
}

func (r *Registry) newBody(ctx context.Context, ref oci.Ref) *body {
	return &body{registry: r, ctx: ctx, ref: ref, key: keys.Blob(ref.Digest()), offset: oci.PartHint(ctx).Begin}
}

// content is what b reads, once its size is known.
func (b *body) content(via oci.Via) *oci.Content {
	d := oci.Descriptor{Digest: b.ref.Digest(), Size: b.size}
	return &oci.Content{Result: oci.Result{Descriptor: d, Via: via}, Body: oci.Verify(b, d)}
}

// connectBucket opens the object at the offset. It fails for one of another size than before.
func (b *body) connectBucket() error {
	o, err := b.registry.getAgain(b.ctx, b.key, b.offset, b.etag, &b.pace)
	if err != nil {
		return err
	}
	if err := b.setSize(o.Size); err != nil {
		return errors.Join(err, o.Body.Close())
	}
	b.etag, b.source = o.ETag, o.Body
	return nil
}

// usePeer reads from another mirror from now on.
func (b *body) usePeer(f found) {
	if err := b.setSize(f.stream.Size); err != nil { // its bytes would be wrong
		f.cancel(nil)
		_ = f.stream.Close()
		b.failed = true
		b.peer = &f
		return
	}
	b.peer, b.source = &f, &peerStream{f, b.registry.opts.Work.Leases}
	b.peers = append(b.peers, f.seen)
}

// waitForPeer reads from another mirror once that can send something.
func (b *body) waitForPeer(f found) {
	b.known, b.size = true, f.seen.Size
	b.peer = &f
}

func (b *body) setSize(size int64) error {
	if b.known && size != b.size {
		return fmt.Errorf("%s has %d bytes now, and %d before", b.ref, size, b.size)
	}
	b.known, b.size = true, size
	return nil
}

// checkSize fails, and has the object replaced, when that cannot have the right bytes: it is
// empty, or has another size than is known from elsewhere.
func (b *body) checkSize(known int64) error {
	empty := b.size == 0 && b.ref.Digest().Algorithm().FromBytes(nil) != b.ref.Digest()
	if !empty && (known <= 0 || b.size == known) {
		return nil
	}
	err := fmt.Errorf("%w: the bucket has %d bytes of %s", oci.ErrCorrupt, b.size, b.ref)
	b.Checked(err)
	return err
}

func (b *body) disconnect() {
	if b.source != nil {
		_ = b.source.Close()
		b.source = nil
	}
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.offset < b.size && b.upstream == nil {
		n, err := b.readSource(p)
		if n > 0 {
			b.offset += int64(n)
			b.failed = false
			return n, nil
		}
		if err == nil {
			continue
		}
		b.disconnect()
		if b.ctx.Err() != nil {
			return 0, context.Cause(b.ctx)
		}
		if err := b.goOn(); err != nil {
			b.Checked(err)
			return 0, err
		}
	}
	if b.upstream == nil {
		return 0, io.EOF
	}
	n, err := b.upstream.Read(p)
	b.offset += int64(n)
	if b.held != nil {
		b.held.Progress(b.offset, b.size)
	}
	return n, err
}

func (b *body) readSource(p []byte) (int, error) {
	if b.source == nil {
		if b.peer != nil {
			return 0, errStuck // goOn finds the next
		}
		if err := b.connectBucket(); err != nil {
			return 0, err
		}
	}
	return b.source.Read(p)
}

// goOn finds the next source after one has failed.
func (b *body) goOn() error {
	again := !b.failed
	b.failed = true
	switch {
	case b.peer != nil && b.switches < maxSwitches:
		return b.goOnFromPeer(!again)
	case b.peer == nil && again && !b.pace.slow:
		return nil // the bucket is asked once more
	}
	err := b.openUpstream()
	if err != nil && b.pace.slow { // a slow bucket is better than none
		b.pace = pace{}
		return nil
	}
	return err
}

// goOnFromPeer finds who has the rest of what another mirror has sent a part of. broken says
// that the mirror has been asked again already.
func (b *body) goOnFromPeer(broken bool) error {
	b.switches++
	if !call.Sleep(b.ctx, breakPause) {
		return context.Cause(b.ctx)
	}
	f := follow{registry: b.registry, ref: b.ref, seen: b.peer.seen, from: b.offset, broken: broken, begun: true}
	f.watch(b.ctx) // what was seen before the stream began has expired
	switch next := f.next(b.ctx, b.ctx); {
	case next.stream != nil:
		b.usePeer(next)
		return nil
	case next.object:
		b.peer, b.failed = nil, false
		return nil
	case next.lease != nil:
		b.registry.noteRole(Takeover)
		b.held = next.lease
	default:
		b.registry.noteRole(Alone)
	}
	return b.openUpstream()
}

// openUpstream reads the rest from the upstream.
func (b *body) openUpstream() (err error) {
	b.upstream, err = b.registry.openUpstream(b.ctx, b.ref, oci.Span{Begin: b.offset}, b.size)
	if err == nil {
		b.registry.fetched.Add(b.ref.Digest(), struct{}{})
	}
	return err
}

// Seek implements io.Seeker. Nothing is sent before the next Read.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.offset
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, errors.New("seek to a negative offset")
	}
	if offset != b.offset {
		b.disconnect()
		if b.upstream != nil {
			if err := b.upstream.seek(offset); err != nil {
				return 0, err
			}
		}
	}
	b.offset = offset
	return offset, nil
}

// Close ends the download. What was taken over and is not whole is given up.
func (b *body) Close() error {
	b.disconnect()
	switch {
	case b.held == nil:
	case b.offset < b.size:
		b.held.Fail(oci.Unavailable)
	default:
		b.held.Fetched()
	}
	if b.upstream != nil {
		return b.upstream.Close()
	}
	return nil
}

// Idle implements oci.Idler.
func (b *body) Idle() {
	b.disconnect()
	if b.upstream != nil {
		b.upstream.idle()
	}
}

// Reopen implements oci.Reopener. A part that is far ahead is not asked of another mirror,
// which has no more than what it has fetched.
func (b *body) Reopen(ctx context.Context, part oci.Span) (io.ReadCloser, error) {
	if part.End == 0 {
		part.End = b.size
	}
	var from io.ReadCloser
	var err error
	if b.etag != "" {
		var o *bucket.Object
		if o, err = b.registry.getAgain(ctx, b.key, part.Begin, b.etag, new(pace)); err == nil {
			from = o.Body
		}
	}
	if from == nil {
		if from, err = b.registry.openUpstream(ctx, b.ref, part, b.size); err != nil {
			return nil, err
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(from, part.End-part.Begin), from}, nil
}

// Checked implements oci.Checked. Who of several sources has sent the wrong bytes is not
// known: all of them are left alone.
func (b *body) Checked(err error) {
	if !errors.Is(err, oci.ErrCorrupt) {
		return
	}
	if b.held != nil {
		b.held.Fail(oci.Unavailable)
	}
	for _, seen := range b.peers {
		b.registry.avoid(seen)
	}
	b.registry.noteCorrupt(b.ref, b.key, b.etag)
}

// upstream is the body of the upstream's content, at an offset.
type upstream struct {
	content *oci.Content
	body    io.ReadCloser // of content, not verified
}

// openUpstream opens the upstream's content of ref at the beginning of part. It fails when
// that has another size than the object in the bucket.
func (r *Registry) openUpstream(ctx context.Context, ref oci.Ref, part oci.Span, size int64) (*upstream, error) {
	content, err := r.opts.Next.Open(oci.WithPartHint(ctx, part), ref)
	if err != nil {
		return nil, err
	}
	u := &upstream{content, oci.Unverified(content.Body)}
	if content.Size != size && content.Size != oci.UnknownSize {
		err = oci.Errorf(oci.Unavailable, "%w: the bucket has %d bytes of %s, the upstream %d", oci.ErrCorrupt, size, ref, content.Size)
	} else {
		err = u.seek(part.Begin)
	}
	if err != nil {
		_ = content.Close()
		return nil, err
	}
	return u, nil
}

// seek goes to an offset; a body that cannot is at its beginning, and what lies before is
// read.
func (u *upstream) seek(offset int64) error {
	if seeker, ok := u.body.(io.Seeker); ok {
		_, err := seeker.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, u.body, offset)
	return err
}

func (u *upstream) Read(p []byte) (int, error) { return u.body.Read(p) }

func (u *upstream) Close() error { return u.content.Close() }

func (u *upstream) idle() {
	if idler, ok := u.body.(oci.Idler); ok {
		idler.Idle()
	}
}

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// body reads a blob from the bucket from the offset of the last Seek, and from the
// upstream once the bucket has failed twice without a byte between.
type body struct {
	registry *Registry
	ctx      context.Context
	ref      oci.Ref
	offset   int64 // of the next Read

	known  bool   // after the first response, which sets etag and size; they never change then
	etag   string // of the object
	size   int64
	failed bool // since the last byte

	object   io.ReadCloser // at offset; nil when not connected
	upstream *upstream     // once it is read instead
}

// connect opens the object at the offset. It fails for one of another size than before.
func (b *body) connect() error {
	o, err := b.registry.get(b.ctx, keys.Blob(b.ref.Digest()), b.offset, b.etag)
	if err != nil {
		return err
	}
	switch {
	case !b.known:
		b.known, b.etag, b.size = true, o.ETag, o.Size
	case o.Size != b.size:
		return errors.Join(fmt.Errorf("the bucket has %d bytes of %s now, and %d before", o.Size, b.ref, b.size), o.Body.Close())
	}
	b.object = o.Body
	return nil
}

func (b *body) disconnect() {
	if b.object != nil {
		_ = b.object.Close()
		b.object = nil
	}
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.upstream == nil && b.offset < b.size {
		n, err := b.readObject(p)
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
		if b.failed {
			if b.upstream, err = b.registry.openUpstream(b.ctx, b.ref, oci.Span{Begin: b.offset}, b.size); err != nil {
				b.Checked(err)
				return 0, err
			}
		}
		b.failed = true
	}
	if b.upstream == nil {
		return 0, io.EOF
	}
	n, err := b.upstream.Read(p)
	b.offset += int64(n)
	return n, err
}

func (b *body) readObject(p []byte) (int, error) {
	if b.object == nil {
		if err := b.connect(); err != nil {
			return 0, err
		}
	}
	return b.object.Read(p)
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

// Close ends the download.
func (b *body) Close() error {
	b.disconnect()
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

// Reopen implements oci.Reopener.
func (b *body) Reopen(ctx context.Context, part oci.Span) (io.ReadCloser, error) {
	if part.End == 0 {
		part.End = b.size
	}
	var from io.ReadCloser
	if o, err := b.registry.get(ctx, keys.Blob(b.ref.Digest()), part.Begin, b.etag); err == nil {
		from = o.Body
	} else if from, err = b.registry.openUpstream(ctx, b.ref, part, b.size); err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(from, part.End-part.Begin), from}, nil
}

// Checked implements oci.Checked.
func (b *body) Checked(err error) {
	if errors.Is(err, oci.ErrCorrupt) {
		b.registry.noteCorrupt(b.ref, b.etag)
	}
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

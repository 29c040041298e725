package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"mirrord/internal/oci"
)

// Source is how a Reader gets bytes elsewhere than from the spool.
type Source struct {
	// OpenPart requests a part; its bytes are unverified.
	OpenPart func(ctx context.Context, part oci.Span) (io.ReadCloser, error)

	// Reopen opens the whole content again, verified, after the spool has failed
	// with failure.
	Reopen func(ctx context.Context, failure error) (io.ReadCloser, error)

	// Joined says that the download was started for another repository, whose
	// failure is not this reader's.
	Joined bool
}

// Reader reads a spool while it is being written. A part far ahead of the writer
// comes from the upstream instead, if it is within the budget; Via says so. A
// read to the end of the content ends in the spool, which withholds the last byte
// until everything is verified. It implements oci.PartReader.
type Reader struct {
	ctx      context.Context
	spool    *Spool
	budget   *Budget
	source   Source
	size     int64
	via      oci.Via // of what is spooled
	offset   int64
	parts    []oci.Span    // those that may come unverified
	pass     *pass         // nil: the spool is read
	rest     io.ReadCloser // in the place of a spool that failed, at offset
	passing  atomic.Bool   // Via may be called by another goroutine than Read
	requests int           // to the upstream
	closed   bool
}

// NewReader returns a reader of the content that is spooled, until ctx ends. The caller
// has called Acquire; Close calls Release.
func (s *Spool) NewReader(ctx context.Context, spooled oci.Result, b *Budget, source Source) *Reader {
	return &Reader{ctx: ctx, spool: s, budget: b, source: source, size: spooled.Size, via: spooled.Via}
}

// maxRequests bounds the upstream requests that one client request may cause:
// podman asks for up to 1024 ranges in one. After that the reader waits for the
// download.
const maxRequests = 16

// Via returns how the bytes at the current offset are had: that of the spooled content,
// or pass.
func (r *Reader) Via() oci.Via {
	if r.passing.Load() {
		return oci.Pass
	}
	return r.via
}

// ReadParts implements oci.PartReader. Whether the first of several parts is
// passed is decided now: the response header, which says so, is written before
// the first read.
func (r *Reader) ReadParts(parts []oci.Span) {
	r.parts = parts
	if len(parts) > 1 {
		r.plan(parts[0].Begin)
	}
}

func (r *Reader) Read(p []byte) (int, error) {
	if r.offset >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.read(p)
	r.offset += int64(n)
	return n, err
}

func (r *Reader) read(p []byte) (int, error) {
	for r.rest == nil {
		if r.pass.elsewhere(r.offset) {
			r.stopPass()
		}
		if r.pass != nil {
			if n := r.readPass(p); n > 0 {
				return n, nil
			}
			if err := r.rejoin(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.spool.readAt(r.ctx, p, r.offset)
		if n > 0 || !r.replaceable(err) {
			return n, err
		}
		if err := r.leaveSpool(err, func(body io.Reader) error { return r.spool.compare(body, r.offset) }); err != nil {
			return 0, err
		}
	}
	return r.rest.Read(p)
}

// readPass reads from the upstream. It returns 0 when the spool is to be read: at
// the end of the pass, when it fails, and when the download has caught up.
func (r *Reader) readPass(p []byte) int {
	if r.spool.Written() > r.offset {
		return 0
	}
	if r.pass.body == nil {
		r.requests++
		body, err := r.budget.open(r.ctx, func() (io.ReadCloser, error) {
			return r.source.OpenPart(r.ctx, oci.Span{Begin: r.pass.begin, End: r.pass.end})
		})
		if err != nil {
			return 0
		}
		r.pass.body = body
	}
	return r.pass.read(p, r.offset)
}

// rejoin returns to the spool, or leaves it if it has failed. The bytes that were
// passed came in another response, and must be the same.
func (r *Reader) rejoin() error {
	p := r.pass
	r.stopPass()
	err := r.spool.match(r.ctx, p)
	if err == nil || !r.replaceable(err) {
		return err
	}
	return r.leaveSpool(err, func(body io.Reader) error { return p.compare(body, r.offset) })
}

// replaceable reports whether the content can be had another way after the spool
// has failed with err: a failure of the disk says nothing about the upstream, and
// that of another repository nothing about this one. A corrupt blob stays corrupt.
func (r *Reader) replaceable(err error) bool {
	if errors.Is(err, ErrDisk) {
		return true
	}
	return r.source.Joined && err == r.spool.failure() && !errors.Is(err, oci.ErrCorrupt)
}

// leaveSpool continues with the upstream's bytes after the spool has failed. What
// the client was sent is unverified, so the upstream must send the same again:
// compare reads up to the offset and fails when it does not.
func (r *Reader) leaveSpool(failure error, compare func(body io.Reader) error) error {
	if r.requests == maxRequests {
		return failure
	}
	r.requests++
	body, err := r.source.Reopen(r.ctx, failure)
	if err != nil {
		return err
	}
	if err := compare(body); err != nil {
		_ = body.Close()
		return err
	}
	r.rest = body
	r.passing.Store(true)
	return nil
}

func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: before the beginning", offset)
	}
	if offset != r.offset {
		r.stopRest()
	}
	r.offset = offset
	if r.rest == nil && offset < r.size {
		r.plan(offset)
	}
	return offset, nil
}

// plan decides whether the bytes at offset are passed: alone, or together with
// parts that follow too closely to be worth a request of their own. A pass that
// was planned for another offset stays until bytes are read, as http.ServeContent
// seeks to find the size.
func (r *Reader) plan(offset int64) {
	run, part := r.ends(offset)
	if r.pass.covers(offset, run) || r.pass.covers(offset, part) {
		return
	}
	if r.pass != nil && r.pass.body != nil {
		r.stopPass()
	}
	if r.requests == maxRequests || !r.spool.far(offset) {
		return
	}
	for _, end := range []int64{run, part} {
		if r.budget.take(end-offset, r.size) {
			r.stopPass()
			r.pass = newPass(offset, end)
			r.passing.Store(true)
			return
		}
	}
}

// ends returns where the part that begins at offset ends, and where the run of
// parts that follow it closely ends. Outside of all parts the content is read to
// its end, except the last byte, which only the spool has.
func (r *Reader) ends(offset int64) (run, part int64) {
	for _, p := range r.parts {
		switch {
		case part == 0 && p.Begin == offset:
			run, part = p.End, p.End
		case part == 0:
		case p.Begin < offset || p.Begin > run+nearBytes:
			return run, part
		default:
			run = max(run, p.End)
		}
	}
	if part == 0 {
		return r.size - 1, r.size - 1
	}
	return run, part
}

func (r *Reader) stopPass() {
	if r.pass == nil {
		return
	}
	if r.pass.body == nil {
		r.budget.refund(r.pass.end - r.pass.begin)
	}
	r.pass.close()
	r.pass = nil
	r.passing.Store(false)
}

func (r *Reader) stopRest() {
	if r.rest != nil {
		_ = r.rest.Close() // the error of an abandoned body says nothing
		r.rest = nil
		r.passing.Store(false)
	}
}

func (r *Reader) Close() error {
	if r.closed {
		return errors.New("reader closed twice")
	}
	r.closed = true
	r.stopPass()
	r.stopRest()
	r.spool.Release()
	return nil
}

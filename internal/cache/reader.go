package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"mirrord/internal/oci"
)

// reader reads a spool while it is being written. A part far ahead of the writer
// comes from the upstream instead, if it is small enough; Via says so of it. What
// is read to the end of the content ends in the spool, which withholds the last
// byte until all is verified. It implements oci.PartReader.
type reader struct {
	ctx     context.Context
	spool   *spool
	passes  *passes
	size    int64
	offset  int64
	fetch   func(ctx context.Context, part oci.Span) (io.ReadCloser, error) // unverified
	instead func(ctx context.Context, failure error) (io.ReadCloser, error) // the whole, verified
	guest   bool                                                            // the fill was started for another repository
	parts   []oci.Span                                                      // those that may come unverified
	pass    *pass                                                           // nil: the spool is read
	rest    io.ReadCloser                                                   // in the place of a spool that failed, at offset
	passing atomic.Bool                                                     // Via may be asked by another goroutine than reads
	asked   int                                                             // requests upstream
	closed  bool
}

// maxAsked bounds the requests upstream that one client's request may cause:
// podman asks for up to 1024 ranges in one. After that it waits for the fill.
const maxAsked = 16

// Via tells how the bytes at the present offset come: fill, or pass.
func (r *reader) Via() oci.Via {
	if r.passing.Load() {
		return oci.Pass
	}
	return oci.Fill
}

// ReadParts implements oci.PartReader. How the first of several parts comes is
// decided now: the answer's header, which says so, is written before it is read.
func (r *reader) ReadParts(parts []oci.Span) {
	r.parts = parts
	if len(parts) > 1 {
		r.plan(parts[0].Begin)
	}
}

func (r *reader) Read(p []byte) (int, error) {
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

func (r *reader) read(p []byte) (int, error) {
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
// the end of the pass, when it fails, and when the fill has caught up.
func (r *reader) readPass(p []byte) int {
	if r.spool.progress() > r.offset {
		return 0
	}
	if r.pass.body == nil {
		r.asked++
		body, err := r.passes.ask(r.ctx, func() (io.ReadCloser, error) {
			return r.fetch(r.ctx, oci.Span{Begin: r.pass.begin, End: r.pass.end})
		})
		if err != nil {
			return 0
		}
		r.pass.body = body
	}
	return r.pass.read(p, r.offset)
}

// rejoin goes back to the spool, or leaves that if it has failed. The bytes that
// were passed came in another answer, and must be the same.
func (r *reader) rejoin() error {
	p := r.pass
	r.stopPass()
	err := r.spool.match(r.ctx, p)
	if err == nil || !r.replaceable(err) {
		return err
	}
	return r.leaveSpool(err, func(body io.Reader) error { return p.compare(body, r.offset) })
}

// replaceable reports whether what follows a failure of the spool can be had
// another way: the disk's says nothing of the upstream, and that of another
// repository nothing of this one. What was sent of a wrong blob stays wrong.
func (r *reader) replaceable(err error) bool {
	if errors.Is(err, errDisk) {
		return true
	}
	return r.guest && err == r.spool.failure() && !errors.Is(err, oci.ErrCorrupt)
}

// leaveSpool goes on with the upstream's bytes where the spool has failed. Nobody
// has verified what the client was sent, so the upstream must send the same again:
// compare reads up to the offset and says whether it does.
func (r *reader) leaveSpool(failure error, compare func(body io.Reader) error) error {
	if r.asked == maxAsked {
		return failure
	}
	r.asked++
	body, err := r.instead(r.ctx, failure)
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

func (r *reader) Seek(offset int64, whence int) (int64, error) {
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

// plan decides whether the bytes at offset are passed: alone, or with the parts
// behind them that are worth no request of their own. A pass that was planned for
// another offset stays until bytes are read: http.ServeContent seeks to measure.
func (r *reader) plan(offset int64) {
	run, part := r.ends(offset)
	if r.pass.covers(offset, run) || r.pass.covers(offset, part) {
		return
	}
	if r.pass != nil && r.pass.body != nil {
		r.stopPass()
	}
	if r.asked == maxAsked || !r.spool.far(offset) {
		return
	}
	for _, end := range []int64{run, part} {
		if r.passes.book(end-offset, r.size) {
			r.stopPass()
			r.pass = newPass(offset, end)
			r.passing.Store(true)
			return
		}
	}
}

// ends returns where the part that begins at offset ends, and where the last
// one does of those that follow it closely. Outside of all parts the content is
// read to its end, of which the last byte is the spool's.
func (r *reader) ends(offset int64) (run, part int64) {
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

func (r *reader) stopPass() {
	if r.pass == nil {
		return
	}
	if r.pass.body == nil {
		r.passes.refund(r.pass.end - r.pass.begin)
	}
	r.pass.close()
	r.pass = nil
	r.passing.Store(false)
}

func (r *reader) stopRest() {
	if r.rest != nil {
		_ = r.rest.Close() // a body that is given up has nothing to say
		r.rest = nil
		r.passing.Store(false)
	}
}

func (r *reader) Close() error {
	if r.closed {
		return errors.New("reader closed twice")
	}
	r.closed = true
	r.stopPass()
	r.stopRest()
	r.spool.release()
	return nil
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"mirrord/internal/oci"
)

// reader reads a spool while it is being written. One that has seeked far ahead
// of the writer reads from the upstream instead, bytes that nobody has verified
// and that Via says so of.
type reader struct {
	ctx     context.Context
	spool   *spool
	size    int64
	offset  int64
	reopen  func(ctx context.Context, offset int64) (io.ReadCloser, error) // a part, unverified
	instead func(ctx context.Context) (io.ReadCloser, error)               // the whole, verified
	passing atomic.Bool                                                    // Via may be asked by another goroutine than reads
	pass    io.ReadCloser                                                  // the upstream's body, once it was needed
	passAt  int64                                                          // the offset of pass
	passes  int                                                            // how often it was opened
	closed  bool
}

// maxPasses bounds the requests upstream that one client's request may cause:
// podman asks for up to 1024 ranges in one. After that it waits for the fill.
const maxPasses = 16

// Via tells how the bytes at the present offset come: fill, or pass.
func (r *reader) Via() oci.Via {
	if r.passing.Load() {
		return oci.Pass
	}
	return oci.Fill
}

func (r *reader) Read(p []byte) (int, error) {
	if r.offset >= r.size {
		return 0, io.EOF
	}
	n, err := r.read(p)
	r.offset += int64(n)
	return n, err
}

func (r *reader) read(p []byte) (int, error) {
	if !r.passing.Load() {
		n, err := r.spool.readAt(r.ctx, p, r.offset)
		if n > 0 || !errors.Is(err, errDisk) {
			return n, err
		}
		if err := r.leaveSpool(); err != nil {
			return 0, err
		}
	}
	if err := r.movePass(); err != nil {
		return 0, err
	}
	n, err := r.pass.Read(p)
	r.passAt += int64(n)
	return n, err
}

// leaveSpool goes on with the upstream's bytes where the disk has failed. Nobody
// has verified what the client was sent from the spool, so the upstream must send
// the same again.
func (r *reader) leaveSpool() error {
	if r.passes == maxPasses {
		return errDisk
	}
	r.passes++
	r.stopPassing()
	body, err := r.instead(r.ctx)
	if err != nil {
		return err
	}
	if err := r.spool.compare(body, r.offset); err != nil {
		_ = body.Close()
		return err
	}
	r.pass, r.passAt = body, r.offset
	r.passing.Store(true)
	return nil
}

// movePass brings the upstream's body to the offset: a little ahead by reading
// on, elsewhere by another request.
func (r *reader) movePass() error {
	if ahead := r.offset - r.passAt; ahead < 0 || ahead > nearBytes {
		r.stopPassing()
	}
	if r.pass == nil {
		body, err := r.reopen(r.ctx, r.offset)
		if err != nil {
			return err
		}
		r.pass, r.passAt = body, r.offset
		r.passes++
	}
	n, err := io.CopyN(io.Discard, r.pass, r.offset-r.passAt)
	r.passAt += n
	return err
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
	r.offset = offset
	r.passing.Store(offset < r.size && r.passes < maxPasses && r.spool.far(offset))
	return offset, nil
}

func (r *reader) stopPassing() {
	if r.pass != nil {
		_ = r.pass.Close() // a body that is given up has nothing to say
		r.pass = nil
	}
}

func (r *reader) Close() error {
	if r.closed {
		return errors.New("reader closed twice")
	}
	r.closed = true
	r.stopPassing()
	r.spool.release()
	return nil
}

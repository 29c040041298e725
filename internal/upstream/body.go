package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v6"

	"mirrord/internal/oci"
)

const (
	firstTries  = 2               // requests for a blob before anybody is answered
	maxFailures = 8               // in a row while a blob is read, with hardly a byte between them
	progress    = 1 << 20         // bytes after which earlier failures are forgotten
	outageTime  = time.Minute     // without a byte while the host is not asked: a restart takes less, the CRI waits 5 min
	patience    = 5 * time.Second // a first request that took longer is the last: clients wait 30 s
	firstPause  = 100 * time.Millisecond
	maxPause    = 5 * time.Second
)

// body reads a blob from wherever it was last seeked to. It connects when it is
// read elsewhere than it is connected, and connects again, through a fresh
// redirect, when the upstream breaks off.
type body struct {
	registry *Registry
	ctx      context.Context
	ref      oci.Ref
	size     int64 // oci.UnknownSize until an answer tells
	offset   int64
	end      int64 // of a part, which is read no further; 0: the blob's

	stream   *stream // nil: not connected
	at       int64   // the offset that stream is for
	skip     int64   // what it sends before that
	pause    *backoff.ExponentialBackOff
	failures int
	fine     int64     // bytes read since the last failure
	since    time.Time // when no byte came any more; zero: they come
}

func (r *Registry) newBody(ctx context.Context, ref oci.Ref, offset int64) *body {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, maxPause
	return &body{registry: r, ctx: ctx, ref: ref, size: oci.UnknownSize, offset: offset, pause: pause}
}

// Reopen implements oci.Reopener.
func (b *body) Reopen(ctx context.Context, part oci.Span) (io.ReadCloser, error) {
	other := b.registry.newBody(ctx, b.ref, part.Begin)
	other.size, other.end = b.size, part.End
	if err := other.connectFirst(); err != nil {
		return nil, err
	}
	return other, nil
}

// Idle implements oci.Idler.
func (b *body) Idle() { b.disconnect() }

// connectFirst connects before anybody is answered: soon or not at all.
func (b *body) connectFirst() error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := b.connect()
		if err == nil || try == firstTries || time.Since(begun) > patience || !b.worthRetrying(err) || errors.Is(err, errOpen) {
			return err
		}
		if err := b.wait(); err != nil {
			return err
		}
	}
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if end := cmp.Or(b.end, b.size); end != oci.UnknownSize {
			if b.offset >= end {
				return 0, io.EOF
			}
			p = p[:min(int64(len(p)), end-b.offset)] // more may come, from a body of no length
		}
		n, err := b.read(p)
		if n > 0 {
			b.advance(int64(n))
			return n, nil
		}
		if err == io.EOF && b.size == oci.UnknownSize {
			return 0, io.EOF
		}
		if err != nil {
			if err := b.recover(err); err != nil {
				return 0, err
			}
		}
	}
}

func (b *body) read(p []byte) (int, error) {
	if b.at != b.offset {
		b.disconnect()
	}
	if b.stream == nil {
		if err := b.connect(); err != nil {
			return 0, err
		}
	}
	if err := b.skipAhead(); err != nil {
		return 0, err
	}
	return b.stream.Read(p)
}

// skipAhead drops what an upstream that knows no ranges sends before the offset.
func (b *body) skipAhead() error {
	n, err := io.CopyN(io.Discard, b.stream, b.skip)
	b.skip -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // which is not the blob's end
	}
	return err
}

func (b *body) advance(n int64) {
	b.offset += n
	b.at = b.offset
	b.since = time.Time{}
	if b.fine += n; b.fine >= progress {
		b.failures = 0
		b.pause.Reset()
	}
}

// recover prepares for another try after err, or returns why there is none.
func (b *body) recover(err error) error {
	b.disconnect()
	b.fine = 0
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	asked := !errors.Is(err, errOpen)
	if b.givesUp(asked) || !b.worthRetrying(err) {
		return oci.Errorf(oci.CodeOf(err), "%s: blob %s broke off at byte %d of %d: %w", b.registry.Name, b.ref.Digest(), b.offset, b.size, redact(err))
	}
	if asked {
		b.registry.Resumed()
	}
	return b.wait()
}

// givesUp counts one more failure and reports whether it was the last. A try for
// which nobody was asked is none: what runs out then is time.
func (b *body) givesUp(asked bool) bool {
	if b.since.IsZero() {
		b.since = time.Now()
	}
	if !asked {
		return time.Since(b.since) >= outageTime
	}
	b.failures++
	return b.failures >= maxFailures
}

// worthRetrying reports whether err is of the kind that passes.
func (b *body) worthRetrying(err error) bool {
	return b.ctx.Err() == nil && oci.CodeOf(err) == oci.Unavailable &&
		!errors.Is(err, errRange) && !errors.Is(err, errRedirect) && !errors.Is(err, errPrivate) &&
		!errors.Is(err, oci.ErrNoParts)
}

func (b *body) wait() error {
	timer := time.NewTimer(b.pause.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// errRange says that the upstream sends other bytes than were asked for.
var errRange = errors.New("the upstream does not keep to the range")

// connect asks for the bytes from offset on, and waits for the first of them:
// until then who asks can still be told that there are none.
func (b *body) connect() error {
	ctx, answered, cancel := untilAnswer(b.ctx)
	defer answered()
	var byteRange string
	switch {
	case b.end > 0:
		byteRange = fmt.Sprintf("bytes=%d-%d", b.offset, b.end-1)
	case b.offset > 0:
		byteRange = fmt.Sprintf("bytes=%d-", b.offset)
	}
	resp, err := b.registry.getBlob(ctx, b.ref, byteRange)
	if err != nil {
		cancel()
		return err
	}
	b.stream, b.at = newStream(resp.Body, cancel), b.offset
	if err = b.accept(resp); err == nil {
		err = b.begin()
	}
	if err != nil {
		b.disconnect()
	}
	return err
}

func (b *body) begin() error {
	if err := b.stream.begin(); err != nil {
		return oci.Errorf(oci.Unavailable, "%s sends no byte of blob %s: %w", b.registry.Name, b.ref.Digest(), redact(err))
	}
	return nil
}

// accept checks that the answer begins at offset, or before it.
func (b *body) accept(resp *http.Response) error {
	if err := checkBlobType(b.registry.Name, b.ref, resp); err != nil {
		return err
	}
	first, size := int64(0), resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		var err error
		if first, size, err = contentRange(resp); err != nil {
			return fmt.Errorf("%w: %w", errRange, err)
		}
	}
	if b.size == oci.UnknownSize && size >= 0 {
		b.size = size
	}
	if size >= 0 && size != b.size || first > b.offset {
		return fmt.Errorf("%w: from byte %d of %d, asked for byte %d of %d", errRange, first, size, b.offset, b.size)
	}
	if b.skip = b.offset - first; b.skip > 0 && b.end > 0 {
		return oci.ErrNoParts // to skip through would cost more than the part
	}
	return nil
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.offset
	case io.SeekEnd:
		if b.size == oci.UnknownSize {
			return 0, errors.New("seek from the end of a blob of unknown size")
		}
		offset += b.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: before the beginning", offset)
	}
	b.offset = offset
	return offset, nil
}

func (b *body) disconnect() {
	if b.stream != nil {
		b.stream.close()
		b.stream = nil
	}
}

func (b *body) Close() error {
	b.disconnect()
	return nil
}

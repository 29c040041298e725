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
	initialTries = 2               // requests for a blob before anybody is answered
	firstTryTime = 5 * time.Second // a first request that took longer is the last: clients wait 30 s
	maxFailures  = 8               // in a row while a blob is read, with some bytes but less than progress between them
	maxRefusals  = 3               // in a row, to go on with a blob that was sent until then
	progress     = 1 << 20         // bytes after which earlier failures are forgotten
	maxSkip      = 64 << 10        // bytes that are read and dropped rather than asked for anew behind them
	minPart      = 64 << 10        // bytes of a range that was cut short for no reason: fewer are a failure
	firstPause   = 100 * time.Millisecond
	maxPause     = 5 * time.Second
)

// How long a download goes on without a byte while its clients wait. They have
// been answered: the CRI gives up after five minutes, others never.
const (
	outageTime = time.Minute     // a registry's restart takes less
	limitTime  = 2 * time.Minute // for a limit, which Docker Hub asks to wait for 60 s: no longer Retry-After is waited for
)

// body reads a blob from wherever it was last seeked to. It connects when it is
// read elsewhere than it is connected, and connects again, through a fresh
// redirect, when the upstream breaks off.
type body struct {
	registry *Registry
	ctx      context.Context
	release  func() // frees what ctx holds
	ref      oci.Ref
	size     int64 // oci.UnknownSize until an answer tells
	offset   int64
	end      int64      // of a part, which is read no further; 0: the blob's
	parts    []oci.Span // after which the reader stops

	stream  *stream // nil: not connected
	at      int64   // the offset of the stream's next byte
	part    span    // that the stream has
	early   bool    // which begins before what was asked for
	noRange bool    // the upstream cannot begin in the middle: it is asked for the whole

	pause    *backoff.ExponentialBackOff
	failures int       // that came after some bytes
	refusals int       // that came instead of bytes
	fed      bool      // bytes have come since the last failure
	fine     int64     // bytes read since then
	since    time.Time // when no byte came any more; zero: they come
}

func (r *Registry) newBody(ctx context.Context, ref oci.Ref, offset int64) *body {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, maxPause
	return &body{registry: r, ctx: ctx, release: func() {}, ref: ref, size: oci.UnknownSize, offset: offset, pause: pause}
}

// Idle implements oci.Idler.
func (b *body) Idle() { b.disconnect() }

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
		if b.ends(err) {
			return 0, io.EOF
		}
		if err != nil {
			if err := b.recover(err); err != nil {
				return 0, err
			}
		}
	}
}

// ends reports whether err is the end of a blob of which nobody has told the
// size. The end of a part is not that of the blob.
func (b *body) ends(err error) bool {
	return err == io.EOF && b.size == oci.UnknownSize && b.part.end == oci.UnknownSize
}

func (b *body) read(p []byte) (int, error) {
	if b.stream != nil && !b.canReach(b.offset) {
		small := b.offset == b.part.end && b.part.end-b.part.first < minPart
		b.disconnect()
		if small {
			return 0, io.ErrUnexpectedEOF
		}
	}
	if b.stream == nil {
		if err := b.connect(); err != nil || b.stream == nil {
			return 0, err
		}
	}
	if err := b.skipAhead(); err != nil {
		return 0, err
	}
	if b.part.end != oci.UnknownSize {
		p = p[:min(int64(len(p)), b.part.end-b.at)]
	}
	n, err := b.stream.Read(p)
	b.at += int64(n)
	return n, err
}

// canReach reports whether the stream comes to offset. To read on to there is
// only worth it for a little, and where the upstream has not begun at what was
// asked for.
func (b *body) canReach(offset int64) bool {
	if b.part.end != oci.UnknownSize && offset >= b.part.end {
		return false
	}
	return b.at == offset || b.at < offset && (b.early || offset-b.at <= maxSkip)
}

// skipAhead drops what an upstream sends before the offset.
func (b *body) skipAhead() error {
	n, err := io.CopyN(io.Discard, b.stream, b.offset-b.at)
	b.at += n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // which is not the blob's end
	}
	return err
}

func (b *body) advance(n int64) {
	b.offset += n
	b.since, b.refusals = time.Time{}, 0
	if b.fine += n; b.fine >= progress {
		b.failures = 0
		b.pause.Reset()
	}
}

// connectWithRetry connects before anybody is answered: soon or not at all.
func (b *body) connectWithRetry() error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := b.connect()
		if err == nil || try == initialTries || time.Since(begun) > firstTryTime || !b.mayRetryFirst(err) {
			return err
		}
		if err := b.wait(err); err != nil {
			return err
		}
	}
}

// connect asks for the bytes from offset on, or for the whole where these
// cannot be had alone. It does not connect where there are none: a part was all
// there is, or the last one of a blob of unknown size.
func (b *body) connect() error {
	err := b.request()
	var refused unsatisfied
	switch {
	case !errors.Is(err, errRange):
		return err
	case b.end > 0:
		return oci.ErrNoParts
	case errors.As(err, &refused) && refused.size == b.offset && b.size == oci.UnknownSize:
		b.size = b.offset
		return nil
	case b.offset == 0 || b.noRange:
		return err
	}
	b.noRange = true
	return b.request()
}

// request waits for the first byte of the answer: until then who asks can still
// be told that there are none.
func (b *body) request() error {
	ctx, answered, cancel := withResponseTimeout(b.ctx)
	defer answered()
	resp, err := b.registry.getBlob(ctx, b.ref, b.byteRange())
	if err != nil {
		cancel()
		return b.checkRangeSize(err)
	}
	b.stream = newStream(resp.Body, cancel)
	if err = b.accept(resp); err == nil {
		err = b.begin()
	}
	if err != nil {
		b.disconnect()
	}
	return err
}

// checkRangeSize returns err, or that the refusal of a range tells another size.
func (b *body) checkRangeSize(err error) error {
	var refused unsatisfied
	if !errors.As(err, &refused) || refused.size == oci.UnknownSize || b.size == oci.UnknownSize || refused.size == b.size {
		return err
	}
	return fmt.Errorf("%w: %d bytes, expected %d", errSize, refused.size, b.size)
}

func (b *body) begin() error {
	if err := b.stream.begin(); err != nil {
		return oci.Errorf(oci.Unavailable, "%s sent no data of blob %s: %w", b.registry.opts.Name, b.ref.Digest(), redact(err))
	}
	b.fed = true
	return nil
}

// accept checks that the answer has the byte at offset, and learns the size.
func (b *body) accept(resp *http.Response) error {
	if err := checkBlobType(b.registry.opts.Name, b.ref, resp); err != nil {
		return err
	}
	part, err := parseSpan(resp)
	if err != nil {
		return err
	}
	if err := part.fits(b.offset, b.size); err != nil {
		return err
	}
	b.size = max(b.size, part.size)
	b.part, b.at, b.early = part, part.first, part.first < b.offset
	if b.early && b.end > 0 {
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
		return 0, fmt.Errorf("seek to %d: negative offset", offset)
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
	b.release()
	return nil
}

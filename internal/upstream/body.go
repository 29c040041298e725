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
	initialTries = 2               // requests for a blob before its first byte has been sent to a client
	firstTryTime = 5 * time.Second // a first request that took longer is not repeated: clients time out after 30 s
	maxFailures  = 8               // consecutive failures while a blob is read, with fewer than progress bytes between them
	maxRefusals  = 3               // consecutive refusals to resume a blob of which some bytes were sent
	progress     = 1 << 20         // bytes after which earlier failures no longer count
	maxSkip      = 64 << 10        // bytes that are skipped rather than requested past with a new range
	minPart      = 64 << 10        // bytes: a shorter part than was requested counts as a failure below this size
	firstPause   = 100 * time.Millisecond
	maxPause     = 5 * time.Second
)

// How long a download is retried without receiving a byte. Its clients already have
// the response header: the CRI gives up after five minutes, others never.
const (
	outageTime = time.Minute     // a registry's restart takes less
	limitTime  = 2 * time.Minute // for a rate limit: Docker Hub asks to wait 60 s. A longer Retry-After ends the download
)

// body reads a blob from the offset of the last Seek. It opens a new connection
// when a read is at another offset than the current stream, and reconnects, through
// a fresh redirect, when the upstream breaks off.
type body struct {
	registry *Registry
	ctx      context.Context
	release  func() // cancels ctx
	ref      oci.Ref
	size     int64 // oci.UnknownSize until a response reports it
	offset   int64
	end      int64      // of the requested part; 0: the end of the blob
	parts    []oci.Span // that the reader will read; empty: all of the blob

	stream  *stream // nil when not connected
	at      int64   // the offset of the stream's next byte
	part    span    // of the blob that the stream delivers
	early   bool    // the part begins before the requested offset
	noRange bool    // the upstream rejects ranges: the whole blob is requested

	pause    *backoff.ExponentialBackOff
	failures int       // after some bytes
	refusals int       // instead of any bytes
	fed      bool      // some bytes were received since the last failure
	fine     int64     // number of bytes read since the last failure
	since    time.Time // when the stall began; zero while bytes arrive
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
			p = p[:min(int64(len(p)), end-b.offset)] // a body without a length may send more
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

// ends reports whether err is the end of a blob of unknown size. The end of a part
// is not the end of the blob.
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

// canReach reports whether the current stream is used to get to offset. Skipping is
// only worthwhile over a short distance, or when the upstream began before the
// requested offset anyway.
func (b *body) canReach(offset int64) bool {
	if b.part.end != oci.UnknownSize && offset >= b.part.end {
		return false
	}
	return b.at == offset || b.at < offset && (b.early || offset-b.at <= maxSkip)
}

// skipAhead discards the bytes before the offset.
func (b *body) skipAhead() error {
	n, err := io.CopyN(io.Discard, b.stream, b.offset-b.at)
	b.at += n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // not the end of the blob
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

// connectWithRetry connects before the client is sent a header. It fails early, so
// that the client can be sent an error in time.
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

// connect requests the bytes from offset on, or the whole blob when the upstream
// rejects the range. It leaves the stream nil when a 416 shows that offset is the
// end of a blob of unknown size.
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

// request returns after the first byte of the body: until then the caller can still
// report an error.
func (b *body) request() error {
	ctx, answered, cancel := b.registry.withResponseTimeout(b.ctx)
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

// checkRangeSize returns err, or errSize when err is a 416 that reports another
// size than is known.
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

// accept checks that the response includes the byte at offset, and records the size.
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
		return oci.ErrNoParts // skipping to the part would cost more than it saves
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

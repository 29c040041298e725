package upstream

import (
	"context"
	"errors"
	"io"
	"time"

	"mirrord/internal/oci"
)

// recover prepares for another try after err, or returns why there is to be none.
func (b *body) recover(err error) error {
	b.disconnect()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if !b.mayResume(err) || b.countFailure(err) {
		return oci.Errorf(oci.CodeOf(err), "%s: download of blob %s broke off at byte %d of %d: %w", b.registry.opts.Name, b.ref.Digest(), b.offset, b.size, redact(err))
	}
	if !errors.Is(err, errOpen) {
		b.registry.opts.Resumed()
	}
	return b.wait(err)
}

// mayRetryFirst reports whether err is of a kind that passes in a moment.
func (b *body) mayRetryFirst(err error) bool {
	return oci.CodeOf(err) == oci.Unavailable && b.mayResume(err) && !errors.Is(err, errOpen) && !isRefusal(err)
}

// mayResume reports whether a blob of which some bytes have arrived may be resumed.
// Every error passes, as tokens and links expire and are renewed, except an
// authoritative refusal: that it does not exist.
func (b *body) mayResume(err error) bool {
	if b.ctx.Err() != nil || oci.CodeOf(err) == oci.BlobUnknown {
		return false
	}
	for _, final := range []error{errRange, errSize, errRedirect, errPrivate, oci.ErrNoParts} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// countFailure counts a failure and reports whether to give up. If bytes have arrived
// since the last one, the number of failures counts, otherwise the time.
func (b *body) countFailure(err error) bool {
	now := time.Now()
	if b.since.IsZero() {
		b.since = now
	}
	fed := b.fed
	b.fed, b.fine = false, 0
	if fed {
		b.failures++
		return b.failures >= maxFailures
	}
	var limit *oci.LimitError
	if errors.As(err, &limit) {
		return limit.RetryAt.After(b.since.Add(limitTime))
	}
	if isRefusal(err) {
		b.refusals++
		return b.refusals >= maxRefusals
	}
	return now.Sub(b.since) >= outageTime
}

// isRefusal reports whether err is a refusal of the login or token. A few in a row
// may be temporary: another service may not know the token yet. More could make a
// registry block the address.
func isRefusal(err error) bool {
	code := oci.CodeOf(err)
	return code == oci.Denied || code == oci.NameUnknown || errors.Is(err, oci.ErrLogin)
}

// wait waits before another try after err: as long as a rate limit asks for, and
// longer after each failure.
func (b *body) wait(err error) error {
	pause := b.pause.NextBackOff()
	var limit *oci.LimitError
	switch {
	case errors.As(err, &limit):
		pause += max(0, time.Until(limit.RetryAt))
	case isRefusal(err):
		pause = maxPause
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

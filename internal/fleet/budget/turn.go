package budget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
)

const (
	requestTime = time.Second     // for one request
	turnTime    = 2 * time.Second // for all that a turn sends
	maxTries    = 5
	freshTime   = time.Second // for which what was read is believed
	maxObject   = 1 << 20     // bytes

	minPause, maxPause = 50 * time.Millisecond, 400 * time.Millisecond // between two tries
	minAlone, maxAlone = 5 * time.Second, time.Minute                  // for which a bucket that fails is left alone
)

// errLost says that another mirror has written the object first.
var errLost = errors.New("another mirror has written the budget meanwhile")

// turn reads the object of an account, if what is known is old, and writes what there is to
// write. There is one turn for an account at a time.
func (l *Ledger) turn(ctx context.Context, a *account) error {
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	err := l.attempt(ctx, a)
	for try := 1; try < maxTries && err != nil && !isFinal(err) && call.Sleep(ctx, jitter()); try++ {
		again := l.attempt(ctx, a)
		if again == nil || ctx.Err() == nil { // else that the time was up is not why
			err = again
		}
	}
	l.noteBucket(err)
	return err
}

// isFinal reports whether trying again soon is of no use.
func isFinal(err error) bool {
	for _, final := range []error{bucket.ErrDenied, bucket.ErrFull, bucket.ErrUnsupported, keys.ErrNewer} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

func jitter() time.Duration { return minPause + rand.N(maxPause-minPause) }

// noteBucket leaves the bucket alone for a while when a turn has failed. That another mirror
// was faster is no failure of the bucket.
func (l *Ledger) noteBucket(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || errors.Is(err, errLost) {
		l.alone, l.aloneUntil = 0, time.Time{}
		return
	}
	l.alone = min(max(2*l.alone, minAlone), maxAlone)
	l.aloneUntil = time.Now().Add(l.alone)
}

// attempt is one try of a turn. It fails with errLost when another mirror was faster.
func (l *Ledger) attempt(ctx context.Context, a *account) error {
	l.mu.Lock()
	old := a.reread || !a.isFresh(time.Now())
	l.mu.Unlock()
	if old {
		if _, err := l.read(ctx, a); err != nil {
			return err
		}
	}
	c, etag, ok := l.prepare(a)
	if !ok {
		return nil
	}
	return l.write(ctx, a, c, etag)
}

// prepare returns what is to be written, and the ETag that it replaces, or false.
func (l *Ledger) prepare(a *account) (c change, etag string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.clock()
	if !ok {
		return c, "", false
	}
	c = a.change(a.view(k, l.boot), l.boot, l.opts.Reserve)
	return c, a.etag, c.writes
}

// read reads the object. One that is not of this fleet is as good as absent, and is replaced
// by the next write.
func (l *Ledger) read(ctx context.Context, a *account) (state, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTime, bucket.ErrTimeout)
	defer cancel()
	sent := time.Now()
	s, etag, err := l.get(ctx, a.key)
	if err != nil && !errors.Is(err, bucket.ErrAbsent) && !errors.Is(err, keys.ErrForeign) {
		return state{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.clock()
	if !ok {
		return state{}, errors.New("the object store does not tell the time")
	}
	if err != nil {
		a.etag, a.readAt, a.reread = etag, sent, false
		return state{}, nil
	}
	a.note(s.clamped(k.there), etag, sent)
	return s, nil
}

func (l *Ledger) get(ctx context.Context, key string) (s state, etag string, err error) {
	o, err := l.opts.Bucket.Get(ctx, key, 0, "")
	if err != nil {
		return s, "", err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, maxObject))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return s, "", err
	}
	return s, o.ETag, l.opts.Secret.Open(key, raw, &s)
}

// write writes c over the object with that ETag. When it is not certain whether that has
// been done, the object tells.
func (l *Ledger) write(ctx context.Context, a *account, c change, etag string) error {
	raw, err := l.opts.Secret.Seal(a.key, c.next)
	if err != nil {
		return err
	}
	cond := bucket.IfAbsent()
	if etag != "" {
		cond = bucket.IfMatch(etag)
	}
	sent := time.Now()
	put, cancel := context.WithTimeoutCause(ctx, requestTime, bucket.ErrTimeout)
	etag, err = l.opts.Bucket.Put(put, a.key, raw, cond)
	cancel()
	if err == nil {
		l.apply(a, c, etag, sent)
		return nil
	}
	now, failed := l.read(ctx, a)
	switch {
	case failed == nil && now.Boot == c.next.Boot && now.Seq == c.next.Seq:
		l.apply(a, c, "", sent)
		return nil
	case errors.Is(err, bucket.ErrPrecondition), errors.Is(err, bucket.ErrConflict):
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// apply notes that c was written; an empty etag is that of the object as it was read.
func (l *Ledger) apply(a *account, c change, etag string, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if etag == "" {
		etag = a.etag
	}
	a.apply(c, etag, sent)
	if now := time.Now(); a.closing != nil {
		l.flushBy(a, now)
	} else if a.ended > c.ended {
		l.flushBy(a, l.flushTime(a, now))
	}
	if c.granted > 0 {
		l.stats.Grants++
		l.stats.Granted += int64(c.granted)
	}
}

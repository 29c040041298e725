package cache

import (
	"context"
	"errors"
	"math"
	"time"

	"mirrord/internal/oci"
)

// tag is what is known of one tag.
type tag struct {
	TagRecord
	retry  time.Time // after a failed check: not asked about before
	reason error     // that check's error
}

// age is the time since the upstream confirmed t. A check in the future, made
// when the clock was wrong, is as good as none.
func (t *tag) age(now time.Time) time.Duration {
	if age := now.Sub(t.Checked); age >= 0 {
		return age
	}
	return math.MaxInt64
}

// check is one question to the upstream about one tag, on behalf of all who
// want to know.
type check struct {
	begun  time.Time
	done   chan struct{} // closed when the fields below are set
	answer oci.Answer
	err    error
}

const (
	// A client is not kept waiting for an upstream that does not answer for
	// longer than this when there is an older copy to serve.
	patience = 1500 * time.Millisecond
	// A check ends, well below the 30 s after which containerd gives up.
	checkTime = 20 * time.Second
	// After a failed check the older copy is served for this long at once.
	retryTime = 10 * time.Second
	// A tag that nobody confirmed for this long is forgotten.
	tagAge = 30 * 24 * time.Hour
)

// resolveTag returns what ref names. When the upstream cannot be asked and an
// older copy is kept, it returns that copy's answer, Via stale, together with
// the reason.
func (c *Cache) resolveTag(ctx context.Context, ref oci.Ref) (oci.Answer, error) {
	now := time.Now()
	c.mu.Lock()
	t := c.tags[ref]
	if t != nil && t.age(now) < c.Fresh {
		defer c.mu.Unlock()
		return oci.Answer{Descriptor: t.Latest, Via: oci.Hit}, nil
	}
	older, have := c.olderCopy(t)
	if have && now.Before(t.retry) {
		defer c.mu.Unlock()
		return older, t.reason
	}
	k, err := c.joinCheck(ref, now)
	c.mu.Unlock()
	if err != nil {
		return oci.Answer{}, err
	}
	answer, err := k.wait(ctx, have)
	if err == nil || !have || !oci.Temporary(err) || ctx.Err() != nil {
		return answer, err
	}
	return older, err
}

// olderCopy returns the last thing that t is known to have named and whose
// content is kept. The caller holds mu.
func (c *Cache) olderCopy(t *tag) (oci.Answer, bool) {
	if t == nil {
		return oci.Answer{}, false
	}
	for _, d := range []oci.Descriptor{t.Latest, t.Previous} {
		if c.entries[d.Digest].serves(oci.Manifest) {
			return oci.Answer{Descriptor: d, Via: oci.Stale}, true
		}
	}
	return oci.Answer{}, false
}

// errPatience ends a client's wait, not the check.
var errPatience = oci.Errorf(oci.Unavailable, "the upstream has not answered within %s", patience)

// wait returns the check's answer. One who has an older copy waits no longer
// than patience from the check's beginning.
func (k *check) wait(ctx context.Context, have bool) (oci.Answer, error) {
	var tired <-chan time.Time
	if have {
		timer := time.NewTimer(time.Until(k.begun.Add(patience)))
		defer timer.Stop()
		tired = timer.C
	}
	select {
	case <-k.done:
		return k.answer, k.err
	case <-tired:
		return oci.Answer{}, errPatience
	case <-ctx.Done():
		return oci.Answer{}, context.Cause(ctx)
	}
}

// joinCheck returns the check of ref under way, or starts one. The caller holds
// mu.
func (c *Cache) joinCheck(ref oci.Ref, now time.Time) (*check, error) {
	if k := c.checks[ref]; k != nil {
		return k, nil
	}
	if c.closed {
		return nil, errClosed()
	}
	k := &check{begun: now, done: make(chan struct{})}
	c.checks[ref] = k
	c.running.Go(func() { c.check(ref, k) })
	return k, nil
}

// check asks the upstream what ref names and moves the tag.
func (c *Cache) check(ref oci.Ref, k *check) {
	ctx, cancel := context.WithTimeout(c.ctx, checkTime)
	defer cancel()
	answer, err := c.Next.Resolve(ctx, ref)

	c.mu.Lock()
	delete(c.checks, ref)
	var record *TagRecord
	_, stale := c.olderCopy(c.tags[ref])
	switch {
	case err == nil:
		record = c.moveTag(ref, answer.Descriptor)
		answer.Via = oci.Pass
		if c.entries[answer.Digest].serves(oci.Manifest) {
			answer.Via = oci.Revalidated
		}
	case oci.Temporary(err):
		if t := c.tags[ref]; t != nil {
			t.retry, t.reason = time.Now().Add(retryTime), err
		}
	default:
		delete(c.tags, ref)
	}
	c.mu.Unlock()

	k.answer, k.err = answer, err
	close(k.done)
	if stale && oci.Temporary(err) && c.ctx.Err() == nil { // the end of the mirror is no failure
		call2(c.Hooks.TagStale, ref, err)
	}
	c.noteCheck(ref, record, err)
}

// moveTag notes that the upstream says ref names d. What it named before is
// remembered as long as its content is kept and that of d is not. The caller
// holds mu.
func (c *Cache) moveTag(ref oci.Ref, d oci.Descriptor) *TagRecord {
	record := TagRecord{Ref: ref, Latest: d, Checked: time.Now()}
	if older, have := c.olderCopy(c.tags[ref]); have && older.Digest != d.Digest {
		record.Previous = older.Descriptor
	}
	c.tags[ref] = &tag{TagRecord: record}
	return &record
}

// noteCheck tells the index how a check went.
func (c *Cache) noteCheck(ref oci.Ref, record *TagRecord, err error) {
	var failed error
	switch {
	case record != nil:
		failed = c.Index.PutTag(*record)
	case !oci.Temporary(err):
		failed = c.Index.RemoveTags(ref)
	}
	if failed != nil {
		call(c.Hooks.IndexFailed, failed)
	}
}

// openTag opens what ref names now, or the older copy when that cannot be
// known or had.
func (c *Cache) openTag(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	answer, err := c.resolveTag(ctx, ref)
	if err != nil && answer.Via != oci.Stale {
		return nil, err
	}
	content, err := c.openLatest(ctx, ref, answer.Digest)
	if err != nil && oci.Temporary(err) && ctx.Err() == nil {
		return c.openOlder(ctx, ref, err)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case content.Via != oci.Hit:
	case answer.Via == oci.Pass: // it came to be kept since the upstream was asked
		content.Via = oci.Revalidated
	default:
		content.Via = answer.Via
	}
	return content, nil
}

// openLatest opens d, which ref names now. It gives up after patience when
// there is an older copy.
func (c *Cache) openLatest(ctx context.Context, ref oci.Ref, d oci.Digest) (*oci.Content, error) {
	c.mu.Lock()
	older, have := c.olderCopy(c.tags[ref])
	c.mu.Unlock()
	if !have || older.Digest == d {
		return c.openDigest(ctx, ref.At(d))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(patience, func() { cancel(errPatience) })
	content, err := c.openDigest(ctx, ref.At(d))
	if !timer.Stop() && err == nil { // too late: it could no longer be read
		_ = content.Close()
		err = errPatience
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	done := content.Done
	content.Done = func() {
		cancel(nil)
		if done != nil {
			done()
		}
	}
	return content, nil
}

// openOlder opens the older copy of a tag whose new content cannot be had, and
// fails with why when there is none.
func (c *Cache) openOlder(ctx context.Context, ref oci.Ref, why error) (*oci.Content, error) {
	c.mu.Lock()
	older, have := c.olderCopy(c.tags[ref])
	c.mu.Unlock()
	if !have {
		return nil, why
	}
	content, err := c.openKept(ctx, ref.At(older.Digest))
	if errors.Is(err, errAbsent) {
		return nil, why
	}
	if err != nil {
		return nil, err
	}
	content.Via = oci.Stale
	return content, nil
}

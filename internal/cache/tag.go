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
	fresh  time.Duration // how long it is served without asking
	retry  time.Time     // after a failed check: not asked about before
	reason error         // that check's error
}

func (c *Cache) newTag(r TagRecord) *tag {
	t := &tag{TagRecord: r}
	if c.Fresh != nil {
		t.fresh = c.Fresh(r.Ref)
	}
	return t
}

// age is the time since the upstream confirmed t. A check in the future, made
// when the clock was wrong, is as good as none.
func (t *tag) age(now time.Time) time.Duration {
	if age := now.Sub(t.Checked); age >= 0 {
		return age
	}
	return math.MaxInt64
}

const (
	// A client is not kept waiting for an upstream that does not answer for
	// longer than this when there is an older copy to serve.
	patience = 1500 * time.Millisecond
	// After a failed check the older copy is served for this long at once.
	retryTime = 10 * time.Second
)

// errPatience ends a client's wait, not the check.
var errPatience = oci.Errorf(oci.Unavailable, "the upstream has not answered within %s", patience)

// reasonOf makes of why an older copy is served a word that can be counted.
func reasonOf(err error) oci.StaleReason {
	var limit *oci.LimitError
	switch {
	case errors.As(err, &limit):
		return oci.StaleReason(limit.Kind)
	case errors.Is(err, errPatience):
		return oci.StaleSlow
	}
	return oci.StaleUnavailable
}

// resolveTag returns what ref names: what is known while that is fresh, then
// what the upstream says. It is an older copy's answer, Via stale, when the
// upstream cannot be asked, and when what is new shall not be fetched.
func (c *Cache) resolveTag(ctx context.Context, ref oci.Ref) (oci.Answer, error) {
	now := time.Now()
	c.mu.Lock()
	t := c.tags[ref]
	if t != nil && t.age(now) < t.fresh {
		described, have := c.inHand(ref.At(t.Latest.Digest))
		c.mu.Unlock()
		if have {
			return oci.Answer{Descriptor: described, Via: oci.Hit}, nil
		}
		return c.spare(ctx, ref, oci.Answer{Descriptor: t.Latest, Via: oci.Hit}), nil
	}
	older, have := c.olderCopy(t)
	if have && now.Before(t.retry) {
		defer c.mu.Unlock()
		older.Reason = reasonOf(t.reason)
		return older, nil
	}
	if err := c.recall(ref); err != nil {
		defer c.mu.Unlock()
		return oci.Answer{}, err
	}
	joined := c.checks[ref] != nil
	q, err := c.askTag(ctx, ref)
	refreshing := have && older.Digest == t.Latest.Digest && t.age(now) < t.fresh+c.Revalidate
	c.mu.Unlock()
	if err != nil {
		return oci.Answer{}, err
	}
	if refreshing {
		older.Reason = oci.StaleRefreshing
		return older, nil
	}
	answer, err := q.wait(ctx, patienceOf(have))
	switch {
	case err == nil:
		return c.spare(ctx, ref, answer), nil
	case joined && refusedByQuota(err):
		return c.resolveTag(ctx, ref) // it was the other client that may have no pull
	case !have || !oci.Temporary(err) || ctx.Err() != nil:
		return oci.Answer{}, err
	}
	older.Reason = reasonOf(err)
	return older, nil
}

func patienceOf(have bool) time.Duration {
	if have {
		return patience
	}
	return endless
}

// olderCopy returns the last thing that t is known to have named, not too long
// ago, and whose content is kept. The caller holds mu.
func (c *Cache) olderCopy(t *tag) (oci.Answer, bool) {
	if t == nil {
		return oci.Answer{}, false
	}
	for _, copied := range []struct {
		oci.Descriptor
		checked time.Time
	}{{t.Latest, t.Checked}, {t.Previous, t.Confirmed}} {
		if cached, have := c.cached(t.Ref.At(copied.Digest)); have && time.Since(copied.checked) < c.MaxStale {
			return oci.Answer{Descriptor: cached, Via: oci.Stale, Checked: copied.checked}, true
		}
	}
	return oci.Answer{}, false
}

// spare returns answer, or the older copy of the tag where what the answer
// names would have to be fetched and the quota is better kept.
func (c *Cache) spare(ctx context.Context, ref oci.Ref, answer oci.Answer) oci.Answer {
	if c.Quota == nil {
		return answer
	}
	c.mu.Lock()
	older, have := c.olderCopy(c.tags[ref])
	at := ref.At(answer.Digest)
	have = have && older.Digest != answer.Digest && !c.has(at) && c.flights[keyOf(at)] == nil
	c.mu.Unlock()
	if !have {
		return answer
	}
	if err := c.Quota.Spare(ctx, ref.Upstream()); err != nil {
		older.Reason = reasonOf(err)
		return older
	}
	return answer
}

// askTag returns the question about ref that is under way, or asks. Where that
// costs a pull it is the client's behind payer. The caller holds mu.
func (c *Cache) askTag(payer context.Context, ref oci.Ref) (*question[oci.Answer], error) {
	var after func()
	return ask(c, c.checks, ref, func(ctx context.Context) (answer oci.Answer, err error) {
		answer, after, err = c.check(ctx, payer, ref)
		return answer, err
	}, func() { after() })
}

// check asks the upstream what ref names and moves the tag. What is left to do
// waits for nobody.
func (c *Cache) check(ctx, payer context.Context, ref oci.Ref) (answer oci.Answer, after func(), err error) {
	answer, err = c.Next.Resolve(ctx, ref)
	if errors.Is(err, oci.ErrNeedsGet) {
		answer, err = c.pullTag(ctx, payer, ref)
	} else if err == nil {
		answer, err = c.describe(ref, answer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if refusedByQuota(err) {
		return answer, func() {}, err
	}
	t := c.tags[ref]
	c.countCheck(t, answer, err)
	c.noteMissing(ref, err)
	switch {
	case err == nil:
		c.moveTag(ref, answer.Descriptor)
		return answer, func() { c.noteIndex(c.tellTags(ref)) }, nil
	case !oci.Temporary(err):
		delete(c.tags, ref)
		return answer, func() { c.noteIndex(c.tellTags(ref)) }, err
	}
	if t != nil {
		t.retry, t.reason = time.Now().Add(retryTime), err
	}
	_, stale := c.olderCopy(t)
	return answer, func() {
		if stale && c.ctx.Err() == nil { // the end of the mirror is no failure
			call2(c.Hooks.TagStale, ref, err)
		}
	}, err
}

// moveTag notes that the upstream says ref names d. What it named before is
// remembered as long as its content is kept and that of d is not. The caller
// holds mu.
func (c *Cache) moveTag(ref oci.Ref, d oci.Descriptor) {
	d.Size = max(d.Size, 0) // a HEAD may tell none, and a record has none below
	record := TagRecord{Ref: ref, Latest: d, Checked: time.Now()}
	if older, have := c.olderCopy(c.tags[ref]); have && older.Digest != d.Digest {
		record.Previous, record.Confirmed = older.Descriptor, older.Checked
	}
	c.tags[ref] = c.newTag(record)
}

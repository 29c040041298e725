package cache

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"mirrord/internal/oci"
)

// tag is what is known of one tag.
type tag struct {
	TagRecord
	fresh    time.Duration // how long it is served without asking
	retry    time.Time     // after a failed check or fetch: not asked about before
	reason   error         // that failure's
	awaiting bool          // it was one of fetching Latest, which may still come
}

// freshness is how long ref is served without asking. It calls a callback, so
// mu must not be held.
func (c *Cache) freshness(ref oci.Ref) time.Duration {
	if c.Fresh == nil {
		return 0
	}
	return c.Fresh(ref)
}

// age is the time since the upstream confirmed t. A check in the future, made
// when the clock was wrong, is as good as none.
func (t *tag) age(now time.Time) time.Duration {
	if age := now.Sub(t.Checked); age >= 0 {
		return age
	}
	return math.MaxInt64
}

// isFresh reports whether t is served without asking.
func (t *tag) isFresh(now time.Time) bool {
	return t != nil && t.Refused == "" && t.age(now) < t.fresh
}

// heard is when the upstream last said anything of t.
func (t *tag) heard() time.Time {
	if t.RefusedAt.After(t.Checked) {
		return t.RefusedAt
	}
	return t.Checked
}

// After a failed check or fetch the older copy is served for this long at once.
const retryTime = 10 * time.Second

// reasonOf makes of why an older copy is served a word that can be counted.
func reasonOf(err error) oci.StaleReason {
	var limit *oci.LimitError
	switch {
	case errors.As(err, &limit):
		return oci.StaleReason(limit.Kind)
	case errors.Is(err, errSilent):
		return oci.StaleSlow
	}
	return oci.StaleUnavailable
}

// resolveTag returns what ref names: what is known while that is fresh, then
// what the upstream says. When the upstream cannot be asked, what it said last
// decides: see lastWord. When what is new shall not be fetched, it is the older
// copy's answer, Via stale.
func (c *Cache) resolveTag(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	c.mu.Lock()
	answer, err := c.unasked(ref)
	if !errors.Is(err, errAsk) {
		c.mu.Unlock()
		return c.spare(ctx, ref, answer), err
	}
	last, have := c.lastWord(c.tags[ref])
	refreshing := have && c.isRefreshed(c.tags[ref])
	joined := c.checks[ref] != nil
	q, err := c.askTag(ctx, ref)
	c.mu.Unlock()
	if err != nil {
		return oci.Result{}, err
	}
	if refreshing {
		last.Reason = oci.StaleRefreshing
		return last.Result, nil
	}
	answer, err = q.wait(ctx, c.silenceFor(have))
	switch {
	case err == nil:
		return c.spare(ctx, ref, answer), nil
	case joined && refusedByQuota(err):
		return c.resolveTag(ctx, ref) // it was the other client that may have no pull
	case !have || !oci.Temporary(err) || ctx.Err() != nil:
		return oci.Result{}, err
	}
	return last.because(err)
}

// errAsk says that only the upstream knows.
var errAsk = errors.New("the upstream is to be asked")

// unasked returns what ref is answered with without asking, or errAsk. The
// caller holds mu.
func (c *Cache) unasked(ref oci.Ref) (oci.Result, error) {
	now, t := time.Now(), c.tags[ref]
	if t.isFresh(now) {
		if described, have := c.cachedOrInFlight(ref.At(t.Latest.Digest)); have {
			return oci.Result{Descriptor: described, Via: oci.Hit}, nil
		}
	}
	if last, have := c.lastWord(t); have && now.Before(t.retry) && !(t.awaiting && c.has(ref.At(t.Latest.Digest))) {
		return last.because(t.reason)
	}
	if t.isFresh(now) {
		return oci.Result{Descriptor: t.Latest, Via: oci.Known}, nil
	}
	return oci.Result{}, cmp.Or(c.recall(ref), errAsk)
}

// isRefreshed reports whether t, which is no longer fresh, is served while the
// upstream is asked. The caller holds mu.
func (c *Cache) isRefreshed(t *tag) bool {
	return t.Refused == "" && c.has(t.Ref.At(t.Latest.Digest)) && t.age(time.Now()) < t.fresh+c.Revalidate
}

// lastWord is what the upstream said last of a tag, not too long ago: the older
// copy, or a refusal.
type lastWord struct {
	oci.Result
	refusal error
}

// because returns the answer to a request that the upstream does not decide,
// because of err.
func (w lastWord) because(err error) (oci.Result, error) {
	if w.refusal != nil {
		return oci.Result{}, w.refusal
	}
	w.Reason = reasonOf(err)
	return w.Result, nil
}

// lastWord returns what is answered of t while the upstream cannot be asked. A
// tag that was deleted does not come back because its registry is down, nor does
// one that was denied: who lost access shall not regain it by cutting a cable. A
// login that fails denies nothing, it is the upstream's trouble. Of signatures
// nothing is said: they may have come since. The caller holds mu.
func (c *Cache) lastWord(t *tag) (lastWord, bool) {
	if t == nil || t.Refused == "" {
		older, have := c.olderCopy(t)
		return lastWord{Result: older}, have
	}
	if oci.IsReferrersTag(t.Ref.Tag()) || time.Since(t.RefusedAt) >= c.MaxStale {
		return lastWord{}, false
	}
	what := "not found"
	if t.Refused == oci.Denied {
		what = "denied"
	}
	return lastWord{refusal: oci.Errorf(t.Refused, "%s: %s at %s, when its registry was last asked; it cannot be asked now",
		t.Ref, what, t.RefusedAt.UTC().Format(time.RFC3339))}, true
}

// olderCopy returns the last thing that t is known to have named, not too long
// ago, and whose content is kept. The caller holds mu.
func (c *Cache) olderCopy(t *tag) (oci.Result, bool) {
	if t == nil {
		return oci.Result{}, false
	}
	for _, copied := range []struct {
		oci.Descriptor
		checked time.Time
	}{{t.Latest, t.Checked}, {t.Previous, t.Confirmed}} {
		if cached, have := c.cached(t.Ref.At(copied.Digest)); have && time.Since(copied.checked) < c.MaxStale {
			return oci.Result{Descriptor: cached, Via: oci.Stale, Checked: copied.checked}, true
		}
	}
	return oci.Result{}, false
}

// spare returns answer, or the older copy of the tag where what the answer
// names would have to be fetched and the quota is better kept.
func (c *Cache) spare(ctx context.Context, ref oci.Ref, answer oci.Result) oci.Result {
	if c.Quota == nil || answer.Digest == "" {
		return answer
	}
	c.mu.Lock()
	older, have := c.insteadOf(ref, answer.Digest)
	have = have && c.flights[keyOf(ref.At(answer.Digest))] == nil
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

// askTag returns the question about ref that is in flight, or asks. Where that
// costs a pull it is the client's behind payer. The caller holds mu.
func (c *Cache) askTag(payer context.Context, ref oci.Ref) (*question[oci.Result], error) {
	var after func()
	return ask(c, c.checks, ref, func(ctx context.Context) (answer oci.Result, err error) {
		answer, after, err = c.check(ctx, payer, ref)
		return answer, err
	}, func() { after() })
}

// check asks the upstream what ref names and moves the tag. What is left to do
// waits for nobody.
func (c *Cache) check(ctx, payer context.Context, ref oci.Ref) (answer oci.Result, after func(), err error) {
	answer, err = c.Next.Resolve(ctx, ref)
	if errors.Is(err, oci.ErrNeedsGet) {
		answer, err = c.pullTag(ctx, payer, ref)
	} else if err == nil {
		answer, err = c.describe(ref, answer)
	}
	fresh := c.freshness(ref)
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
		c.moveTag(ref, answer.Descriptor, fresh)
		return answer, func() { c.noteIndex(c.tellTags(ref)) }, nil
	case !oci.Temporary(err) && t != nil:
		t.Refused, t.RefusedAt, t.retry = oci.CodeOf(err), time.Now(), time.Time{}
		return answer, func() { c.noteIndex(c.tellTags(ref)) }, err
	case !oci.Temporary(err):
		return answer, func() {}, err
	}
	if t != nil {
		t.retry, t.reason, t.awaiting = time.Now().Add(retryTime), err, false
	}
	last, have := c.lastWord(t)
	return answer, func() {
		if have && last.refusal == nil && c.ctx.Err() == nil { // the end of the mirror is no failure
			call2(c.Hooks.TagStale, ref, err)
		}
	}, err
}

// moveTag notes that the upstream says ref names d, which is fresh for that
// long. What it named before is remembered as long as its content is kept and
// that of d is not. The caller holds mu.
func (c *Cache) moveTag(ref oci.Ref, d oci.Descriptor, fresh time.Duration) {
	d.Size = max(d.Size, 0) // a HEAD may tell none, and a record has none below
	record := TagRecord{Ref: ref, Latest: d, Checked: time.Now()}
	if older, have := c.olderCopy(c.tags[ref]); have && older.Digest != d.Digest {
		record.Previous, record.Confirmed = older.Descriptor, older.Checked
	}
	c.tags[ref] = &tag{TagRecord: record, fresh: fresh}
}

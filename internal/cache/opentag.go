package cache

import (
	"context"
	"errors"
	"time"

	"mirrord/internal/oci"
)

// openTag opens what ref names now, or the older copy when that cannot be
// known or had.
func (c *Cache) openTag(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	answer, err := c.resolveTag(ctx, ref)
	if err != nil {
		return nil, err
	}
	return c.openAnswer(ctx, ref, answer)
}

// headTag says what openTag would open: clients go on with a GET of the digest
// that a HEAD has told, and one that promises what cannot be had makes them
// fail. Where the tag has moved away from a cached copy only a GET of the new
// manifest tells, so it is fetched: one pull for each time that the tag moves,
// which the next GET is spared. Where there is no older copy to choose nothing
// is fetched.
func (c *Cache) headTag(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	answer, err := c.resolveTag(ctx, ref)
	if err != nil || answer.Via == oci.Stale {
		return answer, err
	}
	c.mu.Lock()
	_, have := c.insteadOf(ref, answer.Digest)
	var refused error
	if at := ref.At(answer.Digest); !c.has(at) {
		refused = c.recall(at)
	}
	c.mu.Unlock()
	switch {
	case !have && refused != nil:
		return oci.Result{}, refused
	case !have:
		return answer, nil
	}
	content, err := c.openAnswer(ctx, ref, answer)
	if err != nil {
		return oci.Result{}, err
	}
	return content.Result, content.Close()
}

// openAnswer opens what resolveTag has answered, or the older copy when that
// cannot be had.
func (c *Cache) openAnswer(ctx context.Context, ref oci.Ref, answer oci.Result) (*oci.Content, error) {
	if answer.Via == oci.Stale {
		return c.openOlder(ctx, ref, answer)
	}
	content, err := c.openLatest(ctx, ref, answer.Digest)
	if err != nil && ctx.Err() == nil && (oci.Temporary(err) || isUnknown(err)) {
		return c.openInstead(ctx, ref, err)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case content.Via != oci.Hit || answer.Via == oci.Known:
	case answer.Via == oci.Pass: // it came to be kept since the upstream was asked
		content.Via = oci.Revalidated
	default:
		content.Via = answer.Via
	}
	return content, nil
}

// insteadOf returns the older copy that is served when d, which the upstream
// says ref names, cannot be had. There is none when d is cached. The caller
// holds mu.
func (c *Cache) insteadOf(ref oci.Ref, d oci.Digest) (oci.Result, bool) {
	older, have := c.olderCopy(c.tags[ref])
	if !have || older.Digest == d || c.has(ref.At(d)) {
		return oci.Result{}, false
	}
	return older, true
}

// openLatest opens d, which ref names now. It bears MaxSilence when there is an
// older copy.
func (c *Cache) openLatest(ctx context.Context, ref oci.Ref, d oci.Digest) (*oci.Content, error) {
	c.mu.Lock()
	_, have := c.insteadOf(ref, d)
	c.mu.Unlock()
	return c.openWithin(ctx, ref.At(d), c.silenceFor(have))
}

// openInstead opens the older copy of a tag that names now what cannot be had,
// and fails with why when there is none. That the upstream does not have what it
// has just named is its trouble, too: its servers disagree.
func (c *Cache) openInstead(ctx context.Context, ref oci.Ref, why error) (*oci.Content, error) {
	c.mu.Lock()
	older, have := c.olderCopy(c.tags[ref])
	if have && !refusedByQuota(why) { // the next client's share may not be used up
		t := c.tags[ref]
		t.retry, t.reason, t.awaiting = time.Now().Add(retryTime), why, true
	}
	c.mu.Unlock()
	if !have {
		return nil, why
	}
	older.Reason = reasonOf(why)
	content, err := c.openKept(ctx, ref.At(older.Digest))
	if errors.Is(err, errAbsent) {
		return nil, why
	}
	if err != nil {
		return nil, err
	}
	content.Result = older
	return content, nil
}

// openOlder opens what answer says is served in the place of what ref names
// now. A copy that turns out to be damaged is fetched again.
func (c *Cache) openOlder(ctx context.Context, ref oci.Ref, answer oci.Result) (*oci.Content, error) {
	content, err := c.openDigest(ctx, ref.At(answer.Digest))
	if err != nil {
		return nil, err
	}
	if content.Via == oci.Hit {
		content.Result = answer
	}
	return content, nil
}

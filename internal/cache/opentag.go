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
	if answer.Via == oci.Stale {
		return c.openOlder(ctx, ref, answer)
	}
	content, err := c.openLatest(ctx, ref, answer.Digest)
	if err != nil && oci.Temporary(err) && ctx.Err() == nil {
		return c.openInstead(ctx, ref, err)
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

// openInstead opens the older copy of a tag whose new content cannot be had,
// and fails with why when there is none.
func (c *Cache) openInstead(ctx context.Context, ref oci.Ref, why error) (*oci.Content, error) {
	c.mu.Lock()
	older, have := c.olderCopy(c.tags[ref])
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
	content.Answer = older
	return content, nil
}

// openOlder opens what answer says is served in the place of what ref names
// now. A copy that turns out to be damaged is fetched again.
func (c *Cache) openOlder(ctx context.Context, ref oci.Ref, answer oci.Answer) (*oci.Content, error) {
	content, err := c.openDigest(ctx, ref.At(answer.Digest))
	if err != nil {
		return nil, err
	}
	if content.Via == oci.Hit {
		content.Answer = answer
	}
	return content, nil
}

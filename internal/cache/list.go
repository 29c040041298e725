package cache

import (
	"context"
	"errors"
	"time"

	"mirrord/internal/oci"
)

const (
	listMemory  = 16 << 20  // bytes of lists that are cached
	maxListPage = 256 << 10 // bytes of one page; a larger one is not cached
)

// list is what the upstream said of one page of a list: the page, or with noAPI
// that it has no referrers API, which clients have another way for.
type list struct {
	page    oci.Page
	noAPI   error
	checked time.Time
	retry   time.Time // after a failed question: not asked before
	reason  error     // that question's error
}

// List returns one page: a cached one while it is fresh, then what the upstream
// says, one question for all who ask the same at once. While the upstream cannot
// be asked, it is the older page. A list without entries is never cached: what is
// missing in it may have come since, and a client that is told wrongly that there
// are no signatures looks no further.
func (c *Cache) List(ctx context.Context, l oci.Listing) (*oci.Page, error) {
	page, err := c.list(ctx, l)
	if err == nil {
		c.countStale(page.Via, page.Reason)
	}
	return page, err
}

func (c *Cache) list(ctx context.Context, l oci.Listing) (*oci.Page, error) {
	now := time.Now()
	c.mu.Lock()
	older, have := c.lists.Get(l.String())
	switch {
	case have && older.noAPI == nil && within(now, older.checked, c.FreshLists):
		defer c.mu.Unlock()
		page := older.page
		page.Via = oci.Hit
		return &page, nil
	case !have || !within(now, older.checked, c.MaxStale):
		older = nil
	case now.Before(older.retry):
		defer c.mu.Unlock()
		return older.because(older.reason)
	}
	q, err := c.askList(l)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	page, err := q.wait(ctx, c.silenceFor(older != nil))
	if err == nil || older == nil || ctx.Err() != nil || !older.outlives(err) {
		return page, err
	}
	return older.because(err)
}

// within reports whether t was not longer ago than d. What is in the future, by
// a clock that was wrong, is not.
func within(now, t time.Time, d time.Duration) bool {
	age := now.Sub(t)
	return age >= 0 && age < d
}

// because returns the older page, which is served because of err.
func (o *list) because(err error) (*oci.Page, error) {
	if o.noAPI != nil {
		return nil, o.noAPI
	}
	page := o.page
	page.Via, page.Reason, page.Checked = oci.Stale, reasonOf(err), o.checked
	return &page, nil
}

// outlives reports whether o is served where the upstream's answer is err. A
// registry that has sent referrers and is said to have no API for them is in
// trouble: a page of its maintenance looks so.
func (o *list) outlives(err error) bool {
	return oci.Temporary(err) || o.noAPI == nil && errors.Is(err, oci.ErrNoReferrers)
}

// askList returns the question about l that is in flight, or asks. The caller
// holds mu.
func (c *Cache) askList(l oci.Listing) (*question[*oci.Page], error) {
	return ask(c, c.listings, l, func(ctx context.Context) (*oci.Page, error) {
		page, err := c.Next.List(ctx, l)
		c.mu.Lock()
		defer c.mu.Unlock()
		older, have := c.lists.Get(l.String())
		switch {
		case err == nil:
			page.Via = oci.Pass
			if c.keepList(l, &list{page: *page, checked: time.Now()}) {
				page.Via = oci.Fill
			}
		case have && older.outlives(err):
			older.retry, older.reason = time.Now().Add(retryTime), err
		case errors.Is(err, oci.ErrNoReferrers):
			c.keepList(l, &list{noAPI: err, checked: time.Now()})
		case !oci.Temporary(err):
			c.lists.Remove(l.String())
		}
		return page, err
	}, nil)
}

// keepList caches what is known of l now, unless it is large or without entries,
// and reports whether it did. The caller holds mu.
func (c *Cache) keepList(l oci.Listing, known *list) bool {
	key, size := l.String(), known.page.Size()
	if size > maxListPage || known.noAPI == nil && known.page.Empty() {
		c.lists.Remove(key)
		return false
	}
	c.lists.Add(key, known, size+int64(len(key))+itemBytes)
	return true
}

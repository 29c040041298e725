package tags

import (
	"context"
	"errors"
	"time"

	"mirrord/internal/cache/lru"
	"mirrord/internal/call"
	"mirrord/internal/oci"
)

const (
	listMemory  = 16 << 20  // bytes of lists that are cached
	maxListPage = 256 << 10 // bytes of one page; a larger one is not cached
)

// list is the upstream's last response for one page of a list: the page, or with
// noAPI that it has no referrers API, for which clients have a fallback.
type list struct {
	page    oci.Page
	noAPI   error
	checked time.Time
	retry   time.Time // after a failed request: not asked before
	reason  error     // of that failure
}

// List returns one page: a cached one while it is fresh, then what the upstream
// returns, in one request for everyone who asks for the same at once. While the
// upstream cannot be asked, it is the stale page. A list without entries is never
// cached: what it lacks may have come since, and a client that is told wrongly
// that there are no signatures looks no further.
func (r *Registry) List(ctx context.Context, l oci.Listing) (*oci.Page, error) {
	page, err := r.list(ctx, l)
	if err == nil {
		r.countStale(page.Via, page.Reason)
	}
	return page, err
}

func (r *Registry) list(ctx context.Context, l oci.Listing) (*oci.Page, error) {
	now := time.Now()
	r.mu.Lock()
	stale, have := r.lists.Get(l.String())
	switch {
	case have && stale.noAPI == nil && within(now, stale.checked, r.limits.Load().FreshLists):
		defer r.mu.Unlock()
		page := stale.page
		page.Via = oci.Hit
		return &page, nil
	case !have || !within(now, stale.checked, r.limits.Load().MaxStale):
		stale = nil
	case now.Before(stale.retry):
		defer r.mu.Unlock()
		return stale.because(stale.reason)
	}
	request, joined := r.startList(ctx, l)
	r.mu.Unlock()
	page, err := request.Wait(ctx, r.tolerated(stale != nil))
	if joined && errors.Is(err, oci.ErrLoop) { // that of another client
		return r.list(ctx, l)
	}
	if err == nil || stale == nil || ctx.Err() != nil || !stale.outlives(err) {
		return page, err
	}
	return stale.because(err)
}

// within reports whether t is no longer ago than d. A time in the future, of a
// clock that was wrong, is not.
func within(now, t time.Time, d time.Duration) bool {
	age := now.Sub(t)
	return age >= 0 && age < d
}

// because returns the stale page, served because of err.
func (l *list) because(err error) (*oci.Page, error) {
	if l.noAPI != nil {
		return nil, l.noAPI
	}
	page := l.page
	page.Via, page.Reason, page.Checked = oci.Stale, reasonFor(err), l.checked
	return &page, nil
}

// outlives reports whether l is served when the upstream fails with err. A registry
// that has sent referrers before and now has no API for them is failing: its
// maintenance page looks like that.
func (l *list) outlives(err error) bool {
	return oci.Temporary(err) || l.noAPI == nil && errors.Is(err, oci.ErrNoReferrers)
}

// startList returns the request for l that is in flight, or starts one for the client
// of client. The caller holds mu.
func (r *Registry) startList(client context.Context, l oci.Listing) (request *call.Call[*oci.Page], joined bool) {
	return r.pages.Do(l, func(ctx context.Context) (*oci.Page, error) {
		ctx = oci.Inherit(ctx, client)
		page, err := r.next.List(ctx, l)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !errors.Is(err, oci.ErrLoop) {
			r.noteList(l, page, err)
		}
		return page, err
	})
}

// noteList caches the upstream's response for l, and says in page whether it did.
// The caller holds mu.
func (r *Registry) noteList(l oci.Listing, page *oci.Page, err error) {
	stale, have := r.lists.Get(l.String())
	switch {
	case err == nil:
		page.Via = oci.Pass
		if r.addList(l, &list{page: *page, checked: time.Now()}) {
			page.Via = oci.Fill
		}
	case have && stale.outlives(err):
		stale.retry, stale.reason = time.Now().Add(retryTime), err
	case errors.Is(err, oci.ErrNoReferrers):
		r.addList(l, &list{noAPI: err, checked: time.Now()})
	case !oci.Temporary(err):
		r.lists.Remove(l.String())
	}
}

// addList caches what is known of l, unless it is large or has no entries, and
// reports whether it did. The caller holds mu.
func (r *Registry) addList(l oci.Listing, known *list) bool {
	key, size := l.String(), known.page.Size()
	if size > maxListPage || known.noAPI == nil && known.page.Empty() {
		r.lists.Remove(key)
		return false
	}
	r.lists.Add(key, known, size+int64(len(key))+lru.ItemOverhead)
	return true
}

package tags_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// purse is a Quota whose decisions a test sets, and which counts pulls.
type purse struct {
	mu         sync.Mutex
	save, take error // what Save and Take return
	taken      int
}

func (p *purse) Save(context.Context, oci.Ref) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.save
}

func (p *purse) Take(context.Context, oci.Ref) (refund func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.take != nil {
		return nil, p.take
	}
	p.taken++
	return p.refund, nil
}

func (p *purse) refund() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
}

func (p *purse) set(save, take error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.save, p.take = save, take
}

func withQuota(p *purse) func(*cachetest.Options) {
	return func(o *cachetest.Options) { o.Cache.Quota, o.Tags.Quota = p, p }
}

var (
	errReserve = &oci.LimitError{Kind: oci.LimitReserve, Upstream: ocitest.Upstream}
	errClient  = &oci.LimitError{Kind: oci.LimitClient, Upstream: ocitest.Upstream}
)

// With few pulls left the stale copy of a tag that has moved is served, for GET and
// HEAD alike; only tags that were never pulled are fetched.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag, unseen := ocitest.ManifestRef(t, "v1"), ocitest.ManifestRef(t, "v2")
		stale := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		confirmed := time.Now()
		<-time.After(2 * time.Minute)
		purse.set(errReserve, nil)
		f.MustRead(t, tag, stale, oci.Revalidated) // it has not moved, so the copy is not stale
		confirmed = confirmed.Add(2 * time.Minute)

		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, stale, oci.Stale)
		f.MustRead(t, tag, stale, oci.Stale) // also while the result of the check is fresh
		result, err := f.Resolve(t.Context(), tag)
		if err != nil || result.Digest != oci.FromBytes(stale) || result.Reason != oci.StaleReason(oci.LimitReserve) || !result.Checked.Equal(confirmed) {
			t.Errorf("HEAD: %+v, %v; want the stale copy, confirmed %s", result, err, confirmed)
		}
		third := cachetest.Put(fake, "v2", 3)
		f.MustRead(t, unseen, third, oci.Fill)
		if s := f.Stats(); s.Tags.Stale[oci.StaleReason(oci.LimitReserve)] != 3 || s.Tags.Checks[tags.Moved] != 1 || s.Tags.Checks[tags.Same] != 1 || s.Tags.Checks[tags.FirstSeen] != 2 {
			t.Errorf("%+v", s)
		}
		purse.set(nil, nil)
		f.MustRead(t, tag, newer, oci.Fill)
	})
}

// The age of the stale copy is remembered across a restart and further moves of the
// tag.
func TestAgeOfTheStaleCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag := ocitest.ManifestRef(t, "v1")
		stale := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		confirmed := time.Now()
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		purse.set(errReserve, nil)
		for n := range 3 {
			cachetest.Put(fake, "v1", 10+n)
			<-time.After(2 * time.Minute)
			f.MustRead(t, tag, stale, oci.Stale)
		}
		f.Stop()
		f.Restart(t, withQuota(purse))
		result, err := f.Resolve(t.Context(), tag)
		if err != nil || result.Via != oci.Stale || !result.Checked.Equal(confirmed) {
			t.Errorf("%+v, %v; want the copy confirmed %s", result, err, confirmed)
		}
	})
}

// A client that has used up its share is served what is cached, and gets an error
// for the rest. Joining another client's fetch costs it nothing.
func TestClientShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag, unseen := ocitest.ManifestRef(t, "v1"), ocitest.ManifestRef(t, "v2")
		cached := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		f.MustRead(t, tag, cached, oci.Fill)
		f.Settled(t)
		purse.set(nil, errClient)
		f.MustRead(t, tag, cached, oci.Hit)
		other := cachetest.Put(fake, "v2", 2)
		if _, _, err := ocitest.Read(t.Context(), f, unseen); !errors.Is(err, errClient) {
			t.Errorf("%v, want the client's limit", err)
		}
		cachetest.Put(fake, "v1", 3)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, cached, oci.Stale)
		if n := fake.Calls("Open", oci.FromBytes(other).String()); n != 0 {
			t.Errorf("%d fetches for a client without a share", n)
		}

		purse.set(nil, nil)
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		var clients sync.WaitGroup
		clients.Go(func() { f.MustRead(t, unseen, other, oci.Fill) })
		<-time.After(1500 * time.Millisecond) // the tag has been resolved, and its manifest is being fetched
		purse.set(nil, errClient)
		clients.Go(func() { f.MustRead(t, unseen, other, oci.Fill) })
		clients.Wait()
	})
}

// A pull that fails upstream costs no share.
func TestFailedPullIsReturned(t *testing.T) {
	fake := new(ocitest.Fake)
	purse := new(purse)
	raw := cachetest.Put(fake, "v1", 1)
	ref := ocitest.ManifestRef(t, oci.FromBytes(raw).String())
	f := start(t, fake, withQuota(purse))
	fake.Fail(cachetest.Down)
	if _, _, err := ocitest.Read(t.Context(), f, ref); !errors.Is(err, cachetest.ErrDown) {
		t.Fatal(err)
	}
	if purse.taken != 0 {
		t.Errorf("%d pulls are booked, want none", purse.taken)
	}
	fake.Fail(nil)
	f.MustRead(t, ref, raw, oci.Fill)
	blob := ocitest.Content(1000, 1)
	f.MustRead(t, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob)), blob, oci.Fill)
	if purse.taken != 1 {
		t.Errorf("%d pulls are booked for a manifest and a blob, want 1", purse.taken)
	}
}

// The pulls that the cache saves are counted: all GETs but the first.
func TestSavedPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		tag := ocitest.ManifestRef(t, "v1")
		f.MustRead(t, tag, raw, oci.Fill)
		f.Settled(t)
		for range 3 {
			f.MustRead(t, tag, raw, oci.Hit)
		}
		if _, err := f.Resolve(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
		if n := f.Stats().Saved[ocitest.Upstream]; n != 3 {
			t.Errorf("%d pulls saved, want 3: a HEAD is not a pull", n)
		}
	})
}

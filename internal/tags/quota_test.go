package tags_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// purse is a Quota that is told what to say, and counts.
type purse struct {
	mu          sync.Mutex
	spare, take error
	taken       int
}

func (p *purse) Save(context.Context, string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spare
}

func (p *purse) Take(context.Context, string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.take == nil {
		p.taken++
	}
	return p.take
}

func (p *purse) Return(context.Context, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
}

func (p *purse) say(spare, take error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare, p.take = spare, take
}

func withQuota(p *purse) func(*cachetest.Options) {
	return func(o *cachetest.Options) { o.Cache.Quota, o.Tags.Quota = p, p }
}

var (
	errReserve = &oci.LimitError{Kind: oci.LimitReserve, Upstream: ocitest.Upstream}
	errClient  = &oci.LimitError{Kind: oci.LimitClient, Upstream: ocitest.Upstream}
)

// With few pulls left a tag that has moved is answered with the copy of before,
// GET and HEAD alike; only what was never seen is fetched.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag, unseen := ocitest.ManifestRef(t, "v1"), ocitest.ManifestRef(t, "v2")
		older := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		f.MustRead(t, tag, older, oci.Fill)
		f.Settled(t)
		confirmed := time.Now()
		<-time.After(2 * time.Minute)
		purse.say(errReserve, nil)
		f.MustRead(t, tag, older, oci.Revalidated) // it has not moved: that is no stale answer
		confirmed = confirmed.Add(2 * time.Minute)

		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, older, oci.Stale)
		f.MustRead(t, tag, older, oci.Stale) // while the answer of the check is fresh, too
		answer, err := f.Resolve(t.Context(), tag)
		if err != nil || answer.Digest != oci.FromBytes(older) || answer.Reason != oci.StaleReason(oci.LimitReserve) || !answer.Checked.Equal(confirmed) {
			t.Errorf("HEAD: %+v, %v; want the older copy, confirmed %s", answer, err, confirmed)
		}
		third := cachetest.Put(fake, "v2", 3)
		f.MustRead(t, unseen, third, oci.Fill)
		if s := f.Stats(); s.Tags.Stale[oci.StaleReason(oci.LimitReserve)] != 3 || s.Tags.Checks[tags.Moved] != 1 || s.Tags.Checks[tags.Same] != 1 || s.Tags.Checks[tags.FirstSeen] != 2 {
			t.Errorf("%+v", s)
		}
		purse.say(nil, nil)
		f.MustRead(t, tag, newer, oci.Fill)
	})
}

// The older copy's age is kept across a restart and further moves of the tag.
func TestAgeOfTheOlderCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag := ocitest.ManifestRef(t, "v1")
		older := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		confirmed := time.Now()
		f.MustRead(t, tag, older, oci.Fill)
		f.Settled(t)
		purse.say(errReserve, nil)
		for n := range 3 {
			cachetest.Put(fake, "v1", 10+n)
			<-time.After(2 * time.Minute)
			f.MustRead(t, tag, older, oci.Stale)
		}
		f.Stop()
		f.Restart(t, withQuota(purse))
		answer, err := f.Resolve(t.Context(), tag)
		if err != nil || answer.Via != oci.Stale || !answer.Checked.Equal(confirmed) {
			t.Errorf("%+v, %v; want the copy of %s", answer, err, confirmed)
		}
	})
}

// A client that has used up its share gets what is kept, and the reason for
// what is not. Joining another's fetch costs it nothing.
func TestClientShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag, unseen := ocitest.ManifestRef(t, "v1"), ocitest.ManifestRef(t, "v2")
		kept := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		f.MustRead(t, tag, kept, oci.Fill)
		f.Settled(t)
		purse.say(nil, errClient)
		f.MustRead(t, tag, kept, oci.Hit)
		other := cachetest.Put(fake, "v2", 2)
		if _, _, err := ocitest.Read(t.Context(), f, unseen); !errors.Is(err, errClient) {
			t.Errorf("%v, want the client's limit", err)
		}
		cachetest.Put(fake, "v1", 3)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, kept, oci.Stale)
		if n := fake.Calls("Open", oci.FromBytes(other).String()); n != 0 {
			t.Errorf("%d fetches for a client without a share", n)
		}

		purse.say(nil, nil)
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		var clients sync.WaitGroup
		clients.Go(func() { f.MustRead(t, unseen, other, oci.Fill) })
		<-time.After(1500 * time.Millisecond) // the tag is known, the content is being fetched
		purse.say(nil, errClient)
		clients.Go(func() { f.MustRead(t, unseen, other, oci.Fill) })
		clients.Wait()
	})
}

// What the upstream does not give costs no share.
func TestPullIsGivenBack(t *testing.T) {
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

// The pulls that the cache spares are counted: all answers but the first.
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
			t.Errorf("%d pulls saved, want 3: a HEAD would not have counted", n)
		}
	})
}

// The client of a context is an IPv4 address or an IPv6 site.
func TestClientOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1234":              "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1234":     "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1234": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1234":         "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := oci.ClientOf(oci.WithClient(t.Context(), a))
		if !ok || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", address, got, ok, want)
		}
	}
	if got, ok := oci.ClientOf(t.Context()); ok {
		t.Errorf("nobody is %s", got)
	}
}

package tags_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

func tagsList(t *testing.T, query string) oci.Listing {
	t.Helper()
	l, err := oci.ParseTags(ocitest.Upstream, ocitest.Repo, query)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func referrersList(t *testing.T, subject oci.Digest) oci.Listing {
	t.Helper()
	l, err := oci.ParseReferrers(ocitest.Upstream, ocitest.Repo, subject.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sign adds a manifest that refers to subject.
func sign(fake *ocitest.Fake, subject oci.Digest, n int) {
	fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageManifest, fmt.Appendf(nil, `{"n":%d,"subject":{"digest":%q}}`, n, subject))
}

// mustList requests l and checks the number of its entries, and where it came from.
func (f *fixture) mustList(t *testing.T, l oci.Listing, entries int, via oci.Via) *oci.Page {
	t.Helper()
	page, err := f.List(t.Context(), l)
	if err != nil {
		t.Fatalf("list %s: %v", l, err)
	}
	if n := len(page.Tags) + strings.Count(string(page.Index), `"size"`); n != entries || page.Via != via {
		t.Errorf("list %s: %d entries via %s, want %d via %s", l, n, page.Via, entries, via)
	}
	return page
}

// Lists are served from the cache while they are fresh, then requested again, and
// served as stale copies while the upstream fails.
func TestListLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		subject := oci.FromBytes(cachetest.Put(fake, "v1", 1))
		sign(fake, subject, 1)
		f := start(t, fake)
		tags, referrers := tagsList(t, ""), referrersList(t, subject)
		for _, l := range []oci.Listing{tags, referrers} {
			f.mustList(t, l, 1, oci.Fill)
			f.mustList(t, l, 1, oci.Hit)
		}
		cachetest.Put(fake, "v2", 2)
		sign(fake, subject, 2)
		<-time.After(2 * time.Minute)
		for _, l := range []oci.Listing{tags, referrers} {
			f.mustList(t, l, 2, oci.Fill)
		}
		<-time.After(2 * time.Minute)
		fake.Fail(cachetest.Down)
		for _, l := range []oci.Listing{tags, referrers} {
			page := f.mustList(t, l, 2, oci.Stale)
			if page.Reason != oci.StaleUnavailable || time.Since(page.Checked) != 2*time.Minute {
				t.Errorf("stale because of %q, from %s ago", page.Reason, time.Since(page.Checked))
			}
			calls := fake.Calls("List", ocitest.Repo)
			f.mustList(t, l, 2, oci.Stale)
			if fake.Calls("List", ocitest.Repo) != calls {
				t.Error("an upstream that has just failed is asked again")
			}
		}
		if n := f.Stats().Tags.Stale[oci.StaleUnavailable]; n != 4 {
			t.Errorf("%d stale lists are counted, want 4", n)
		}
		<-time.After(4 * time.Hour)
		if _, err := f.List(t.Context(), tags); !errors.Is(err, cachetest.ErrDown) {
			t.Errorf("%v, want the upstream's error: the list is too old", err)
		}
	})
}

// Pages are cached separately.
func TestListPagesAreSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		for i := range 3 {
			cachetest.Put(fake, fmt.Sprint("v", i), i)
		}
		f := start(t, fake)
		first := f.mustList(t, tagsList(t, "n=2"), 2, oci.Fill)
		f.mustList(t, tagsList(t, first.Next), 1, oci.Fill)
		again := f.mustList(t, tagsList(t, "n=2"), 2, oci.Hit)
		if again.Next != first.Next {
			t.Errorf("next page %q, want %q", again.Next, first.Next)
		}
	})
}

// A silent upstream is not waited for longer than MaxSilence when there is a stale list.
func TestSilentListIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.mustList(t, tagsList(t, ""), 1, oci.Fill)
		<-time.After(2 * time.Minute)
		fake.Fail(func(ocitest.Call) error { <-time.After(15 * time.Second); return cachetest.ErrDown })
		begun := time.Now()
		f.mustList(t, tagsList(t, ""), 1, oci.Stale)
		if took := time.Since(begun); took != 1500*time.Millisecond {
			t.Errorf("the stale list took %s", took)
		}
		<-time.After(time.Minute)
	})
}

// A list is empty only if the upstream says so now: a signature may have been pushed
// since it was cached.
func TestListIsNeverFalselyEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		subject := oci.FromBytes(cachetest.Put(fake, "v1", 1))
		f := start(t, fake)
		l := referrersList(t, subject)
		f.mustList(t, l, 0, oci.Pass)
		sign(fake, subject, 1)
		f.mustList(t, l, 1, oci.Fill)

		other := referrersList(t, oci.FromBytes([]byte("other")))
		f.mustList(t, other, 0, oci.Pass)
		<-time.After(2 * time.Minute)
		fake.Fail(cachetest.Down)
		if page, err := f.List(t.Context(), other); !errors.Is(err, cachetest.ErrDown) {
			t.Errorf("%+v, %v, want the upstream's error", page, err)
		}
	})
}

// That a registry has no referrers API is remembered while it is down, so that
// clients fall back to the referrers tag, which is cached. If it has sent referrers
// before, those are served instead.
func TestNoReferrersAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		subject := oci.FromBytes(cachetest.Put(fake, "v1", 1))
		sign(fake, subject, 1)
		f := start(t, fake)
		none := oci.Errorf(oci.Unsupported, "%w", oci.ErrNoReferrers)
		signed, other := referrersList(t, subject), referrersList(t, oci.FromBytes([]byte("other")))
		f.mustList(t, signed, 1, oci.Fill)
		fake.Fail(func(ocitest.Call) error { return none })
		<-time.After(2 * time.Minute)
		f.mustList(t, signed, 1, oci.Stale)
		for _, fault := range []error{none, cachetest.ErrDown} {
			fake.Fail(func(ocitest.Call) error { return fault })
			<-time.After(2 * time.Minute)
			if _, err := f.List(t.Context(), other); !errors.Is(err, oci.ErrNoReferrers) {
				t.Errorf("%v, want that there is no API", err)
			}
		}
		fake.Fail(nil)
		<-time.After(time.Minute)
		f.mustList(t, other, 0, oci.Pass)
	})
}

// A list that the upstream has refused is not served when it is down afterwards.
func TestRefusedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		l := tagsList(t, "")
		f.mustList(t, l, 1, oci.Fill)
		denied := oci.Errorf(oci.Denied, "no")
		for _, fault := range []error{denied, cachetest.ErrDown} {
			fake.Fail(func(ocitest.Call) error { return fault })
			<-time.After(2 * time.Minute)
			if _, err := f.List(t.Context(), l); !errors.Is(err, fault) {
				t.Errorf("%v, want %v", err, fault)
			}
		}
	})
}

// A large list is not cached, and the memory for the others is bounded.
func TestLargeListIsNotCached(t *testing.T) {
	fake := new(ocitest.Fake)
	for i := range 3000 {
		fake.AddManifest(ocitest.Repo, fmt.Sprintf("%0100d", i), ocispec.MediaTypeImageManifest, []byte("{}"))
	}
	f := start(t, fake, func(o *cachetest.Options) { o.Tags.Limits.FreshLists = time.Hour })
	for range 2 {
		f.mustList(t, tagsList(t, ""), 3000, oci.Pass)
	}
	for n := range 100 {
		f.mustList(t, tagsList(t, fmt.Sprint("n=", 2000+n)), 2000+n, oci.Fill)
	}
	f.mustList(t, tagsList(t, "n=2000"), 2000, oci.Fill) // it was evicted
	f.mustList(t, tagsList(t, "n=2099"), 2099, oci.Hit)
}

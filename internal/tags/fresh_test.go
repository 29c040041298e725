package tags_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Each tag has its own freshness, also after a restart.
func TestFreshnessByTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		long, short, never := ocitest.ManifestRef(t, "v1.2.3"), ocitest.ManifestRef(t, "latest"), ocitest.ManifestRef(t, "edge")
		raw := cachetest.Put(fake, "v1.2.3", 1)
		cachetest.Put(fake, "latest", 1)
		cachetest.Put(fake, "edge", 1)
		rules := func(o *cachetest.Options) {
			o.Tags.Fresh = func(ref oci.Ref) time.Duration {
				return map[string]time.Duration{"v1.2.3": 24 * time.Hour, "latest": time.Minute}[ref.Tag()]
			}
		}
		f := start(t, fake, rules)
		for _, ref := range []oci.Ref{long, short, never} {
			if _, _, err := ocitest.Read(t.Context(), f, ref); err != nil {
				t.Fatal(err)
			}
			f.Settled(t)
		}
		<-time.After(30 * time.Second)
		f.Stop()
		f.Restart(t, rules)
		f.MustRead(t, long, raw, oci.Hit)
		f.MustRead(t, short, raw, oci.Hit)
		f.MustRead(t, never, raw, oci.Revalidated)
		<-time.After(time.Hour)
		f.MustRead(t, long, raw, oci.Hit)
		f.MustRead(t, short, raw, oci.Revalidated)
	})
}

// While a tag is revalidated it is served at once, as a stale copy.
func TestServedWhileRevalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		stale := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, func(o *cachetest.Options) { o.Tags.Limits.Revalidate = time.Hour })
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(10 * time.Minute)
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		begun := time.Now()
		f.MustRead(t, tag, stale, oci.Stale)
		if took := time.Since(begun); took > 0 {
			t.Errorf("served after %s", took)
		}
		if n := f.Stats().Tags.Stale[oci.StaleRefreshing]; n != 1 {
			t.Errorf("%d stale copies while refreshing, want 1", n)
		}
		<-time.After(2 * time.Second)
		f.MustRead(t, tag, newer, oci.Fill)
		f.Settled(t)
		<-time.After(2 * time.Hour) // after Revalidate the client waits for the upstream
		f.MustRead(t, tag, newer, oci.Revalidated)
	})
}

// A copy that the upstream has not confirmed for too long is not served.
func TestTooStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		limit := func(o *cachetest.Options) { o.Tags.Limits.MaxStale = 2 * time.Hour }
		f := start(t, fake, limit)
		f.MustRead(t, tag, raw, oci.Fill)
		f.Settled(t)
		fake.Fail(cachetest.Down)
		<-time.After(119 * time.Minute)
		f.MustRead(t, tag, raw, oci.Stale)
		<-time.After(time.Hour)
		if _, _, err := ocitest.Read(t.Context(), f, tag); !errors.Is(err, cachetest.ErrDown) {
			t.Errorf("%v, want the upstream's error", err)
		}
		if n := f.Stats().Tags.Tags; n != 0 {
			t.Errorf("%d tags are known, want none", n)
		}

		fake.Fail(nil)
		f.MustRead(t, tag, raw, oci.Revalidated)
		fake.Fail(cachetest.Down)
		f.Stop()
		<-time.After(3 * time.Hour)
		f.Restart(t, limit) // it grew too old while the mirror was down
		if _, _, err := ocitest.Read(t.Context(), f, tag); !errors.Is(err, cachetest.ErrDown) {
			t.Errorf("%v, want the upstream's error", err)
		}
	})
}

// That the upstream does not have something is remembered for half a minute.
func TestMissingIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Put(fake, "other", 1) // the repository is there
		f := start(t, fake)
		absent := oci.FromBytes([]byte("absent"))
		for _, ref := range []oci.Ref{ocitest.ManifestRef(t, "v1"), ocitest.ManifestRef(t, absent.String()), ocitest.BlobRef(t, absent)} {
			calls := func() int {
				return fake.Calls("Resolve", ref.Reference()) + fake.Calls("Open", ref.Reference())
			}
			before := calls()
			for range 3 {
				if _, err := f.Resolve(t.Context(), ref); oci.CodeOf(err) != oci.ManifestUnknown && oci.CodeOf(err) != oci.BlobUnknown {
					t.Errorf("HEAD %s: %v", ref, err)
				}
				if _, _, err := ocitest.Read(t.Context(), f, ref); oci.Temporary(err) {
					t.Errorf("GET %s: %v", ref, err)
				}
			}
			if n := calls() - before; n != 1 {
				t.Errorf("%d requests for %s, want 1", n, ref)
			}
		}
		raw := cachetest.Put(fake, "v1", 2)
		<-time.After(31 * time.Second)
		f.MustRead(t, ocitest.ManifestRef(t, "v1"), raw, oci.Fill)
	})
}

// That a tag does not exist is remembered no longer than what it names would be.
func TestMissingTagIsRememberedWhileFresh(t *testing.T) {
	for _, test := range []struct{ fresh, remembered time.Duration }{
		{0, 0},
		{10 * time.Second, 10 * time.Second},
		{time.Hour, 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			cachetest.Put(fake, "other", 1)
			f := start(t, fake, func(o *cachetest.Options) { o.Tags.Fresh = func(oci.Ref) time.Duration { return test.fresh } })
			tag := ocitest.ManifestRef(t, "v1")
			f.mustRefuse(t, tag, oci.Errorf(oci.ManifestUnknown, "no"))
			pushed := cachetest.Put(fake, "v1", 2)
			if test.remembered > 0 {
				<-time.After(test.remembered - time.Second)
				f.mustRefuse(t, tag, oci.Errorf(oci.ManifestUnknown, "no"))
				<-time.After(time.Second)
			}
			f.MustRead(t, tag, pushed, oci.Fill)
		})
	}
}

// That there is no signature is not remembered: it would hide one that has just been
// pushed.
func TestMissingSignatureIsNotRemembered(t *testing.T) {
	fake := new(ocitest.Fake)
	f := start(t, fake)
	tag := "sha256-" + strings.Repeat("0", 64) + ".sig"
	ref := ocitest.ManifestRef(t, tag)
	if _, err := f.Resolve(t.Context(), ref); oci.Temporary(err) {
		t.Fatal(err)
	}
	raw := cachetest.Put(fake, tag, 1)
	f.MustRead(t, ref, raw, oci.Fill)
}

// Clients that ask for the same at once share one request: HEADs by digest, lists.
func TestRequestsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		byDigest := ocitest.ManifestRef(t, oci.FromBytes(raw).String())
		list, err := oci.ParseTags(ocitest.Upstream, ocitest.Repo, "n=10")
		if err != nil {
			t.Fatal(err)
		}
		var clients sync.WaitGroup
		for range 100 {
			clients.Go(func() {
				if a, err := f.Resolve(t.Context(), byDigest); err != nil || a.Digest != byDigest.Digest() || a.Via != oci.Pass {
					t.Errorf("%+v, %v", a, err)
				}
			})
			clients.Go(func() {
				if page, err := f.List(t.Context(), list); err != nil || len(page.Tags) != 1 {
					t.Errorf("%+v, %v", page, err)
				}
			})
		}
		clients.Wait()
		if heads, lists := fake.Calls("Resolve", byDigest.Reference()), fake.Calls("List", ocitest.Repo); heads != 1 || lists != 1 {
			t.Errorf("%d HEADs and %d lists, want 1 of each", heads, lists)
		}
	})
}

// A response that has cost a pull and is useless is remembered: otherwise each client
// would cost another pull.
func TestUselessResponseIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, old := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, old, oci.Fill)
		moved := cachetest.Put(fake, "v1", 2)
		d := oci.FromBytes(moved).String()
		fake.Fail(func(c ocitest.Call) error {
			if c.Method == "Open" {
				return &oci.Error{Code: oci.Unavailable, Message: "another manifest", Err: oci.ErrUnusable}
			}
			return nil
		})
		<-time.After(2 * time.Minute)
		for range 10 {
			f.MustRead(t, tag, old, oci.Stale)
			if _, _, err := ocitest.Read(t.Context(), f, ocitest.ManifestRef(t, d)); !errors.Is(err, oci.ErrUnusable) {
				t.Errorf("the new manifest: %v", err)
			}
		}
		if n := fake.Calls("Open", d); n != 1 {
			t.Errorf("%d pulls were spent, want 1", n)
		}
		fake.Fail(nil)
		<-time.After(time.Minute)
		f.MustRead(t, tag, moved, oci.Fill)
	})
}

// A client that demands it gets what the tag names at the upstream, which is asked
// once a second for all of them.
func TestNoCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, missing := ocitest.ManifestRef(t, "v1"), ocitest.ManifestRef(t, "v2")
		first := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		demand := oci.WithNoCache(t.Context())
		f.MustRead(t, tag, first, oci.Fill)
		if _, err := f.Resolve(t.Context(), missing); !oci.IsUnknown(err) {
			t.Errorf("missing: %v", err)
		}
		f.Settled(t)
		second := cachetest.Put(fake, "v1", 2)
		cachetest.Put(fake, "v2", 3)
		<-time.After(2 * time.Second)
		f.MustRead(t, tag, first, oci.Hit)
		for range 10 {
			raw, _, err := ocitest.Read(demand, f, tag)
			if err != nil || string(raw) != string(second) {
				t.Errorf("%q, %v; want the new manifest", raw, err)
			}
			if _, err := f.Resolve(demand, missing); err != nil {
				t.Errorf("the tag that has come: %v", err)
			}
			<-time.After(50 * time.Millisecond)
		}
		if n := fake.Calls("Resolve", "v1"); n != 2 {
			t.Errorf("the upstream was asked %d times, want 2", n)
		}
		fake.Fail(func(ocitest.Call) error { return oci.Errorf(oci.Unavailable, "down") })
		<-time.After(2 * time.Second)
		if raw, result, err := ocitest.Read(demand, f, tag); err != nil || string(raw) != string(second) || result.Via != oci.Stale {
			t.Errorf("while the upstream is down: %q, %+v, %v", raw, result, err)
		}
	})
}

package cache_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// Each tag has a freshness of its own, across a restart too.
func TestFreshnessByTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		long, short, never := ocitest.ManifestRef(t, "v1.2.3"), ocitest.ManifestRef(t, "latest"), ocitest.ManifestRef(t, "edge")
		raw := put(fake, "v1.2.3", 1)
		put(fake, "latest", 1)
		put(fake, "edge", 1)
		rules := func(o *cache.Options) {
			o.Fresh = func(ref oci.Ref) time.Duration {
				return map[string]time.Duration{"v1.2.3": 24 * time.Hour, "latest": time.Minute}[ref.Tag()]
			}
		}
		f := start(t, fake, rules)
		for _, ref := range []oci.Ref{long, short, never} {
			if _, _, err := ocitest.Read(t.Context(), f, ref); err != nil {
				t.Fatal(err)
			}
			f.settled(t)
		}
		<-time.After(30 * time.Second)
		f.stop()
		f.restart(t, rules)
		f.mustRead(t, long, raw, oci.Hit)
		f.mustRead(t, short, raw, oci.Hit)
		f.mustRead(t, never, raw, oci.Revalidated)
		<-time.After(time.Hour)
		f.mustRead(t, long, raw, oci.Hit)
		f.mustRead(t, short, raw, oci.Revalidated)
	})
}

// While it is revalidated a tag is served at once, as what it is: perhaps old.
func TestServedWhileRevalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		older := put(fake, "v1", 1)
		f := start(t, fake, func(o *cache.Options) { o.Revalidate = time.Hour })
		f.mustRead(t, tag, older, oci.Fill)
		f.settled(t)
		newer := put(fake, "v1", 2)
		<-time.After(10 * time.Minute)
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		begun := time.Now()
		f.mustRead(t, tag, older, oci.Stale)
		if took := time.Since(begun); took > 0 {
			t.Errorf("served after %s", took)
		}
		if n := f.Stats().Stale[oci.StaleRefreshing]; n != 1 {
			t.Errorf("%d answers while refreshing, want 1", n)
		}
		<-time.After(2 * time.Second)
		f.mustRead(t, tag, newer, oci.Fill)
		f.settled(t)
		<-time.After(2 * time.Hour) // longer than that nobody is served blindly
		f.mustRead(t, tag, newer, oci.Revalidated)
	})
}

// A copy that nobody has confirmed for too long is not served.
func TestTooStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := put(fake, "v1", 1)
		limit := func(o *cache.Options) { o.MaxStale = 48 * time.Hour }
		f := start(t, fake, limit)
		f.mustRead(t, tag, raw, oci.Fill)
		f.settled(t)
		fake.Fail(down)
		<-time.After(47 * time.Hour)
		f.mustRead(t, tag, raw, oci.Stale)
		<-time.After(2 * time.Hour)
		if _, _, err := ocitest.Read(t.Context(), f, tag); !errors.Is(err, errDown) {
			t.Errorf("%v, want the upstream's error", err)
		}
		if n := f.Stats().Tags; n != 0 {
			t.Errorf("%d tags are known, want the old one forgotten", n)
		}

		fake.Fail(nil)
		f.mustRead(t, tag, raw, oci.Revalidated)
		fake.Fail(down)
		f.stop()
		<-time.After(49 * time.Hour)
		f.restart(t, limit) // it grew too old while nobody ran
		if _, _, err := ocitest.Read(t.Context(), f, tag); !errors.Is(err, errDown) {
			t.Errorf("%v, want the upstream's error", err)
		}
	})
}

// What the upstream does not have it is not asked for again, for half a minute.
func TestMissingIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		put(fake, "other", 1) // the repository is there
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
		raw := put(fake, "v1", 2)
		<-time.After(31 * time.Second)
		f.mustRead(t, ocitest.ManifestRef(t, "v1"), raw, oci.Fill)
	})
}

// Where signatures are looked for, "none" is not remembered: it would hide one
// that has just come.
func TestMissingSignatureIsNotRemembered(t *testing.T) {
	fake := new(ocitest.Fake)
	f := start(t, fake)
	tag := "sha256-" + strings.Repeat("0", 64) + ".sig"
	ref := ocitest.ManifestRef(t, tag)
	if _, err := f.Resolve(t.Context(), ref); oci.Temporary(err) {
		t.Fatal(err)
	}
	raw := put(fake, tag, 1)
	f.mustRead(t, ref, raw, oci.Fill)
}

// A crowd that asks the same is one question: HEADs by digest, lists.
func TestQuestionsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := put(fake, "v1", 1)
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

// An answer that has cost a pull for nothing is not asked for again at once: each
// client would cost another.
func TestUselessAnswerIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, old := ocitest.ManifestRef(t, "v1"), put(fake, "v1", 1)
		f := start(t, fake)
		f.mustRead(t, tag, old, oci.Fill)
		moved := put(fake, "v1", 2)
		d := oci.FromBytes(moved).String()
		fake.Fail(func(c ocitest.Call) error {
			if c.Method == "Open" {
				return &oci.Error{Code: oci.Unavailable, Message: "another manifest", Err: oci.ErrUnusable}
			}
			return nil
		})
		<-time.After(2 * time.Minute)
		for range 10 {
			f.mustRead(t, tag, old, oci.Stale)
			if _, _, err := ocitest.Read(t.Context(), f, ocitest.ManifestRef(t, d)); !errors.Is(err, oci.ErrUnusable) {
				t.Errorf("the new manifest: %v", err)
			}
		}
		if n := fake.Calls("Open", d); n != 1 {
			t.Errorf("%d pulls were spent, want 1", n)
		}
		fake.Fail(nil)
		<-time.After(time.Minute)
		f.mustRead(t, tag, moved, oci.Fill)
	})
}

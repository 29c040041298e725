package tags_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// The life of a tag: it is checked once a window, and each digest is fetched once.
func TestTagLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		f := start(t, fake)
		first := cachetest.Put(fake, "v1", 1)
		f.MustRead(t, tag, first, oci.Fill)
		f.Settled(t)
		f.MustRead(t, tag, first, oci.Hit)

		second := cachetest.Put(fake, "v1", 2)
		f.MustRead(t, tag, first, oci.Hit) // still fresh
		<-time.After(time.Minute)
		f.MustRead(t, tag, second, oci.Fill)
		<-time.After(time.Minute)
		f.MustRead(t, tag, second, oci.Revalidated)
		f.MustRead(t, tag, second, oci.Hit)

		cachetest.Put(fake, "v1", 1) // it moves back to a cached manifest
		<-time.After(time.Minute)
		f.MustRead(t, tag, first, oci.Revalidated)

		if n := fake.Calls("Resolve", "v1"); n != 4 {
			t.Errorf("%d HEADs, want 4", n)
		}
		for _, raw := range [][]byte{first, second} {
			if n := fake.Calls("Open", oci.FromBytes(raw).String()); n != 1 {
				t.Errorf("%d GETs of one digest, want 1", n)
			}
		}
		if n := fake.Calls("Open", "v1"); n != 0 {
			t.Errorf("%d GETs by tag, want none", n)
		}
	})
}

// A HEAD moves no content, and the GET after it fetches nothing but the content.
func TestHeadThenGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		result, err := f.Resolve(t.Context(), tag)
		if err != nil || result.Via != oci.Pass || result.Digest != oci.FromBytes(raw) {
			t.Fatalf("%+v, %v", result, err)
		}
		if n := fake.Calls("Open", result.Digest.String()); n != 0 {
			t.Errorf("a HEAD fetched the content")
		}
		f.MustRead(t, tag.At(result.Digest), raw, oci.Fill)
		f.Settled(t)
		f.MustRead(t, tag, raw, oci.Hit)
		result, err = f.Resolve(t.Context(), tag)
		if err != nil || result.Via != oci.Hit || result.MediaType != ocispec.MediaTypeImageManifest {
			t.Errorf("%+v, %v", result, err)
		}
		if n := fake.Calls("Resolve", "v1"); n != 1 {
			t.Errorf("%d HEADs, want 1", n)
		}
	})
}

func TestHeadOfColdBlobDownloadsNothing(t *testing.T) {
	fake := new(ocitest.Fake)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(1000, 1)))
	f := start(t, fake)
	result, err := f.Resolve(t.Context(), ref)
	if err != nil || result.Size != 1000 || result.Via != oci.Pass {
		t.Errorf("%+v, %v", result, err)
	}
	if n := fake.Calls("Open", ref.Reference()); n != 0 {
		t.Errorf("%d fetches, want none", n)
	}
}

// Whatever the reason that the upstream cannot be asked, the stale copy is served.
func TestStale(t *testing.T) {
	for name, err := range map[string]error{
		"down":        cachetest.ErrDown,
		"pull limit":  &oci.LimitError{Kind: oci.LimitPulls, Upstream: ocitest.Upstream},
		"abuse limit": &oci.LimitError{Kind: oci.LimitRequests, Upstream: ocitest.Upstream},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				tag := ocitest.ManifestRef(t, "v1")
				raw := cachetest.Put(fake, "v1", 1)
				var reports atomic.Int32
				f := start(t, fake, func(o *cachetest.Options) {
					o.Tags.Hooks.Stale = func(oci.Ref, error) { reports.Add(1) }
				})
				f.MustRead(t, tag, raw, oci.Fill)
				<-time.After(2 * time.Minute)
				fake.Fail(func(ocitest.Call) error { return err })
				f.MustRead(t, tag, raw, oci.Stale)
				result, err := f.Resolve(t.Context(), tag)
				if err != nil || result.Via != oci.Stale || result.Digest != oci.FromBytes(raw) {
					t.Errorf("resolve: %+v, %v", result, err)
				}
				f.MustRead(t, tag, raw, oci.Stale)
				if n := fake.Calls("Resolve", "v1"); n != 2 {
					t.Errorf("%d HEADs, want 2: a check that has failed is not repeated at once", n)
				}
				synctest.Wait() // the hook is called after the response
				if n := reports.Load(); n != 1 {
					t.Errorf("reported %d times, want once for each check", n)
				}
				fake.Fail(nil)
				<-time.After(11 * time.Second)
				f.MustRead(t, tag, raw, oci.Revalidated)
				synctest.Wait()
				if n := reports.Load(); n != 1 {
					t.Errorf("reported %d times, also for a check that succeeded", n)
				}
			})
		})
	}
}

// A client with a stale copy does not wait long for an upstream that does not respond.
func TestStaleWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		<-time.After(2 * time.Minute)
		fake.Fail(func(ocitest.Call) error { <-time.After(15 * time.Second); return cachetest.ErrDown })
		begun := time.Now()
		f.MustRead(t, tag, raw, oci.Stale)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("the stale copy took %s", took)
		}
		<-time.After(5 * time.Second)
		begun = time.Now()
		f.MustRead(t, tag, raw, oci.Stale) // the check is still in flight
		if took := time.Since(begun); took > 0 {
			t.Errorf("the second stale copy took %s", took)
		}
		<-time.After(time.Minute)
	})
}

// A tag has moved to content that cannot be fetched: the stale copy is served, in
// time.
func TestStaleWhenNewContentCannotBeFetched(t *testing.T) {
	for name, wait := range map[string]time.Duration{"refused": 0, "no response": 15 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				tag := ocitest.ManifestRef(t, "v1")
				stale := cachetest.Put(fake, "v1", 1)
				f := start(t, fake)
				f.MustRead(t, tag, stale, oci.Fill)
				newer := cachetest.Put(fake, "v1", 2)
				<-time.After(2 * time.Minute)
				fake.Fail(func(c ocitest.Call) error {
					if c.Method != "Open" {
						return nil
					}
					<-time.After(wait)
					return &oci.LimitError{Kind: oci.LimitPulls, Upstream: ocitest.Upstream}
				})
				begun := time.Now()
				f.MustRead(t, tag, stale, oci.Stale)
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("the stale copy took %s", took)
				}
				<-time.After(time.Minute)
				f.MustRead(t, tag, stale, oci.Stale) // the second check does not lose the stale copy
				<-time.After(time.Minute)
				fake.Fail(nil)
				f.MustRead(t, tag, newer, oci.Fill)
			})
		})
	}
}

// Not found and denied are returned at once, whatever is cached, and again while the
// upstream is down, also after a restart. The copy is not lost.
func TestRefusalsAreReturned(t *testing.T) {
	for _, code := range []oci.Code{oci.ManifestUnknown, oci.NameUnknown, oci.Denied} {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				tag := ocitest.ManifestRef(t, "v1")
				raw := cachetest.Put(fake, "v1", 1)
				f := start(t, fake)
				f.MustRead(t, tag, raw, oci.Fill)
				<-time.After(2 * time.Minute)
				refusal := oci.Errorf(code, "no")
				fake.Fail(func(ocitest.Call) error { return refusal })
				f.mustRefuse(t, tag, refusal)
				synctest.Wait() // the index is written after the response
				fake.Fail(cachetest.Down)
				f.mustRefuse(t, tag, refusal)
				<-time.After(time.Hour)
				f.mustRefuse(t, tag, refusal)
				f.Stop()
				f.Restart(t)
				f.mustRefuse(t, tag, refusal)
				f.MustRead(t, tag.At(oci.FromBytes(raw)), raw, oci.Hit) // by digest it is still served

				fake.Fail(nil) // it exists again, has moved, and cannot be fetched
				cachetest.Put(fake, "v1", 2)
				<-time.After(time.Minute)
				fake.Fail(failOpen)
				f.MustRead(t, tag, raw, oci.Stale)

				fake.Fail(func(ocitest.Call) error { return refusal })
				<-time.After(2 * time.Minute)
				f.mustRefuse(t, tag, refusal)
				fake.Fail(cachetest.Down)
				<-time.After(4 * time.Hour) // too long ago to be returned again
				f.mustRefuse(t, tag, cachetest.ErrDown)
			})
		})
	}
}

// mustRefuse requests ref by HEAD and GET, which must fail with the code of want.
func (f *fixture) mustRefuse(t *testing.T, ref oci.Ref, want error) {
	t.Helper()
	if _, err := f.Resolve(t.Context(), ref); oci.CodeOf(err) != oci.CodeOf(want) {
		t.Errorf("HEAD %s: %v, want %v", ref, err, want)
	}
	if _, _, err := ocitest.Read(t.Context(), f, ref); oci.CodeOf(err) != oci.CodeOf(want) {
		t.Errorf("GET %s: %v, want %v", ref, err, want)
	}
}

func failOpen(c ocitest.Call) error {
	if c.Method == "Open" {
		return cachetest.ErrDown
	}
	return nil
}

// That there was no signature is not returned again while the upstream is down: it
// may have been pushed since.
func TestRefusedSignatureIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		name := "sha256-" + strings.Repeat("0", 64) + ".sig"
		tag, raw := ocitest.ManifestRef(t, name), cachetest.Put(fake, name, 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		<-time.After(2 * time.Minute)
		fake.RemoveTag(ocitest.Repo, name)
		f.mustRefuse(t, tag, oci.Errorf(oci.ManifestUnknown, "no"))
		fake.Fail(cachetest.Down)
		f.mustRefuse(t, tag, cachetest.ErrDown)
	})
}

// Fresh may call back: it is called without a lock held.
func TestFreshIsCalledWithoutLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := cachetest.Put(fake, "v1", 1)
		var f *fixture
		f = start(t, fake, func(o *cachetest.Options) {
			o.Tags.Fresh = func(oci.Ref) time.Duration { f.Stats(); return time.Minute }
		})
		f.MustRead(t, ocitest.ManifestRef(t, "v1"), raw, oci.Fill)
	})
}

// A thousand clients of an expired tag share one check.
func TestHerdAtAnExpiredTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		<-time.After(2 * time.Minute)
		fake.Fail(func(ocitest.Call) error { <-time.After(300 * time.Millisecond); return nil })
		var clients sync.WaitGroup
		for range 1000 {
			clients.Go(func() { f.MustRead(t, tag, raw, oci.Revalidated) })
		}
		clients.Wait()
		if n := fake.Calls("Resolve", "v1"); n != 2 {
			t.Errorf("%d HEADs, want 2", n)
		}
	})
}

// Without a copy the client gets the upstream's error.
func TestNeverSeenWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		fake.Fail(cachetest.Down)
		f := start(t, fake)
		_, _, err := ocitest.Read(t.Context(), f, ocitest.ManifestRef(t, "v1"))
		if !errors.Is(err, cachetest.ErrDown) {
			t.Errorf("%v, want the upstream's error", err)
		}
	})
}

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

// The whole life of a tag: asked once a window, fetched once a digest.
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

		cachetest.Put(fake, "v1", 1) // it moves back to what is kept
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

// A HEAD moves no content, and the GET after it asks nothing but the content.
func TestHeadThenGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		answer, err := f.Resolve(t.Context(), tag)
		if err != nil || answer.Via != oci.Pass || answer.Digest != oci.FromBytes(raw) {
			t.Fatalf("%+v, %v", answer, err)
		}
		if n := fake.Calls("Open", answer.Digest.String()); n != 0 {
			t.Errorf("a HEAD fetched the content")
		}
		f.MustRead(t, tag.At(answer.Digest), raw, oci.Fill)
		f.Settled(t)
		f.MustRead(t, tag, raw, oci.Hit)
		answer, err = f.Resolve(t.Context(), tag)
		if err != nil || answer.Via != oci.Hit || answer.MediaType != ocispec.MediaTypeImageManifest {
			t.Errorf("%+v, %v", answer, err)
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
	answer, err := f.Resolve(t.Context(), ref)
	if err != nil || answer.Size != 1000 || answer.Via != oci.Pass {
		t.Errorf("%+v, %v", answer, err)
	}
	if n := fake.Calls("Open", ref.Reference()); n != 0 {
		t.Errorf("%d fetches, want none", n)
	}
}

// Each way in which an upstream cannot be asked is answered with the copy.
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
				var told atomic.Int32
				f := start(t, fake, func(o *cachetest.Options) {
					o.Tags.Hooks.Stale = func(oci.Ref, error) { told.Add(1) }
				})
				f.MustRead(t, tag, raw, oci.Fill)
				<-time.After(2 * time.Minute)
				fake.Fail(func(ocitest.Call) error { return err })
				f.MustRead(t, tag, raw, oci.Stale)
				answer, err := f.Resolve(t.Context(), tag)
				if err != nil || answer.Via != oci.Stale || answer.Digest != oci.FromBytes(raw) {
					t.Errorf("resolve: %+v, %v", answer, err)
				}
				f.MustRead(t, tag, raw, oci.Stale)
				if n := fake.Calls("Resolve", "v1"); n != 2 {
					t.Errorf("%d HEADs, want 2: after a failure the upstream has a pause", n)
				}
				synctest.Wait() // it is told after the answer
				if n := told.Load(); n != 1 {
					t.Errorf("told %d times, want once a check", n)
				}
				fake.Fail(nil)
				<-time.After(11 * time.Second)
				f.MustRead(t, tag, raw, oci.Revalidated)
				synctest.Wait()
				if n := told.Load(); n != 1 {
					t.Errorf("told %d times, also of a check that succeeded", n)
				}
			})
		})
	}
}

// An upstream that does not answer keeps nobody waiting who can have the copy.
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
			t.Errorf("stale answer after %s", took)
		}
		<-time.After(5 * time.Second)
		begun = time.Now()
		f.MustRead(t, tag, raw, oci.Stale) // the check has been under way for long
		if took := time.Since(begun); took > 0 {
			t.Errorf("second stale answer after %s", took)
		}
		<-time.After(time.Minute)
	})
}

// The tag has moved, HEAD says so, and the new content cannot be had: in time
// the copy of the old one is served.
func TestStaleWhenNewContentCannotBeHad(t *testing.T) {
	for name, wait := range map[string]time.Duration{"refused": 0, "no answer": 15 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				tag := ocitest.ManifestRef(t, "v1")
				older := cachetest.Put(fake, "v1", 1)
				f := start(t, fake)
				f.MustRead(t, tag, older, oci.Fill)
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
				f.MustRead(t, tag, older, oci.Stale)
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("stale answer after %s", took)
				}
				<-time.After(time.Minute)
				f.MustRead(t, tag, older, oci.Stale) // the older copy is not lost by the second check
				<-time.After(time.Minute)
				fake.Fail(nil)
				f.MustRead(t, tag, newer, oci.Fill)
			})
		})
	}
}

// Not found and denied are told as they are, at once, whatever is kept, and are
// what was last confirmed when the upstream is down then: a restart keeps that.
// The copy is not lost by it.
func TestRefusalsAreTold(t *testing.T) {
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
				synctest.Wait() // the index is told after the answer
				fake.Fail(cachetest.Down)
				f.mustRefuse(t, tag, refusal)
				<-time.After(time.Hour)
				f.mustRefuse(t, tag, refusal)
				f.Stop()
				f.Restart(t)
				f.mustRefuse(t, tag, refusal)
				f.MustRead(t, tag.At(oci.FromBytes(raw)), raw, oci.Hit) // by digest it is what it was

				fake.Fail(nil) // it comes back, moved, and cannot be fetched: the copy is there
				cachetest.Put(fake, "v1", 2)
				<-time.After(time.Minute)
				fake.Fail(failOpen)
				f.MustRead(t, tag, raw, oci.Stale)

				fake.Fail(func(ocitest.Call) error { return refusal })
				<-time.After(2 * time.Minute)
				f.mustRefuse(t, tag, refusal)
				fake.Fail(cachetest.Down)
				<-time.After(31 * 24 * time.Hour) // that is too long ago to be said again
				f.mustRefuse(t, tag, cachetest.ErrDown)
			})
		})
	}
}

// mustRefuse asks for ref by HEAD and GET, which must fail with want's code.
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

// That there were no signatures is not said again while the upstream is down:
// they may have come since.
func TestMissingSignaturesAreNotTheLastWord(t *testing.T) {
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

// What a callback does is its own affair: it is called without a lock held.
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

// A thousand clients of one expired tag are one question.
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

// What was never seen cannot be served: the error is the client's to know.
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

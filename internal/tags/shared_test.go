package tags_test

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// another is a mirror that has asked the upstream for v1, in front of which it stands.
type another struct {
	*ocitest.Fake

	size int64 // of what it names; 0: it does not say

	mu    sync.Mutex
	named oci.Digest
	asked time.Time
	ages  []time.Duration // that would have sufficed
	used  int
	wait  time.Duration // before it responds
}

func (a *another) says(d oci.Digest, age time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.named, a.asked = d, time.Now().Add(-age)
}

// counts returns how often it was believed, and the upstream asked.
func (a *another) counts() (used, asked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used, a.Calls("Resolve", "v1")
}

func (a *another) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if ref.ByDigest() {
		return a.Fake.Resolve(ctx, ref)
	}
	<-time.After(a.wait)
	a.mu.Lock()
	a.ages = append(a.ages, oci.MaxAge(ctx))
	if a.named == "" || time.Since(a.asked) >= oci.MaxAge(ctx) {
		a.mu.Unlock()
		return a.Fake.Resolve(ctx, ref)
	}
	defer a.mu.Unlock()
	a.used++
	d := oci.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: a.named, Size: cmp.Or(a.size, oci.UnknownSize)}
	return oci.Result{Descriptor: d, Via: oci.Shared, Checked: a.asked}, nil
}

// window is how long tags are fresh.
const window = 10 * time.Minute

// startShared runs a cache beside another.
func startShared(t *testing.T, a *another) *fixture {
	t.Helper()
	return start(t, a.Fake, func(o *cachetest.Options) {
		o.Cache.Next = a
		o.Tags.Fresh = cachetest.Always(window)
		o.Tags.Shared = func(oci.Ref) bool { return true }
	})
}

func wantCounts(t *testing.T, a *another, used, asked int) {
	t.Helper()
	if u, n := a.counts(); u != used || n != asked {
		t.Errorf("another mirror was believed %d times and the upstream asked %d times, want %d and %d", u, n, used, asked)
	}
}

// What another mirror was told counts from when it asked.
func TestSharedCountsFromItsCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &another{Fake: new(ocitest.Fake)}
		tag := ocitest.ManifestRef(t, "v1")
		old := cachetest.Put(a.Fake, "v1", 1)
		newer := cachetest.Put(a.Fake, "v1", 2)
		f := startShared(t, a)
		a.size = int64(len(old))
		a.says(oci.FromBytes(old), 6*time.Minute)
		result, err := f.Resolve(t.Context(), tag)
		if err != nil || result.Digest != oci.FromBytes(old) || result.Via != oci.Known {
			t.Errorf("described as %+v, %v", result, err)
		}
		f.MustRead(t, tag, old, oci.Fill)
		f.Settled(t)
		f.MustRead(t, tag, old, oci.Hit)
		wantCounts(t, a, 1, 0)
		if k, _ := f.Known(tag); !k.Checked.Equal(a.asked) {
			t.Errorf("it counts as checked at %s, not %s", k.Checked, a.asked)
		}
		if n := f.Stats().Tags.Checks; len(n) > 0 {
			t.Errorf("checks at the upstream: %v", n)
		}
		<-time.After(window - 6*time.Minute)
		f.MustRead(t, tag, newer, oci.Fill)
		wantCounts(t, a, 1, 1)

		<-time.After(window)
		a.says(oci.FromBytes(newer), time.Minute)
		if result, err = f.Resolve(t.Context(), tag); err != nil || result.Via != oci.Hit {
			t.Errorf("described as %+v, %v", result, err)
		}
		f.MustRead(t, tag, newer, oci.Hit)
		wantCounts(t, a, 2, 1)
	})
}

// Each mirror renews at its own moment, none before 70 % of the window.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &another{Fake: new(ocitest.Fake)}
		tag := ocitest.ManifestRef(t, "v1")
		cachetest.Put(a.Fake, "v1", 1)
		var at []time.Duration
		for range 16 {
			f := startShared(t, a)
			if _, err := f.Resolve(t.Context(), tag); err != nil {
				t.Fatal(err)
			}
			k, _ := f.Known(tag)
			f.SetLimits(tags.Limits{MaxStale: time.Hour})
			if again, _ := f.Known(tag); again.Fresh != k.Fresh {
				t.Errorf("renewed after %s, and after new limits %s", k.Fresh, again.Fresh)
			}
			at = append(at, k.Fresh)
			f.Stop()
		}
		same := 0
		for i, d := range at {
			if d < window*7/10 || d > window || a.ages[i] != d {
				t.Errorf("renewed after %s, and another's response of %s ago suffices", d, a.ages[i])
			}
			if d == at[0] {
				same++
			}
		}
		if same > 1 {
			t.Errorf("%d mirrors renew at once", same)
		}
	})
}

// A client that demands the upstream's word gets it, and so does a refresh, also when
// they join the check of another client.
func TestDemandIsNotShared(t *testing.T) {
	for name, demand := range map[string]func(context.Context, *fixture, oci.Ref) (oci.Digest, error){
		"no-cache": func(ctx context.Context, f *fixture, ref oci.Ref) (oci.Digest, error) {
			result, err := f.Resolve(oci.WithNoCache(ctx), ref)
			return result.Digest, err
		},
		"refresh": func(ctx context.Context, f *fixture, ref oci.Ref) (oci.Digest, error) {
			refreshed, err := f.Refresh(ctx, ref)
			return refreshed.To, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &another{Fake: new(ocitest.Fake)}
				tag := ocitest.ManifestRef(t, "v1")
				old := oci.FromBytes(cachetest.Put(a.Fake, "v1", 1))
				f := startShared(t, a)
				a.says(old, 0)
				if _, err := f.Resolve(t.Context(), tag); err != nil {
					t.Fatal(err)
				}
				newer := oci.FromBytes(cachetest.Put(a.Fake, "v1", 2))
				<-time.After(time.Minute)
				a.says(old, 0)
				if d, err := demand(t.Context(), f, tag); d != newer || err != nil {
					t.Errorf("it names %s, %v", d, err)
				}
				wantCounts(t, a, 1, 1)

				<-time.After(window)
				newest := oci.FromBytes(cachetest.Put(a.Fake, "v1", 3))
				a.says(newer, 0)
				a.wait = time.Second
				var first sync.WaitGroup
				first.Go(func() {
					if _, err := f.Resolve(t.Context(), tag); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				if d, err := demand(t.Context(), f, tag); d != newest || err != nil {
					t.Errorf("it names %s to who has joined, %v", d, err)
				}
				first.Wait()
				wantCounts(t, a, 2, 2)
			})
		})
	}
}

// What this mirror was told itself is not older than what another one was told before.
func TestSharedIsNotOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &another{Fake: new(ocitest.Fake)}
		tag := ocitest.ManifestRef(t, "v1")
		old := oci.FromBytes(cachetest.Put(a.Fake, "v1", 1))
		a.RemoveTag(ocitest.Repo, "v1")
		f := startShared(t, a)
		ask := func(ctx context.Context) error {
			t.Helper()
			_, err := f.Resolve(ctx, tag)
			return err
		}
		for _, known := range []bool{false, true} { // what the tag named before
			<-time.After(time.Minute)
			a.says(old, 0)
			if err := ask(oci.WithNoCache(t.Context())); !oci.IsUnknown(err) {
				t.Fatalf("a deleted tag: %v", err)
			}
			<-time.After(time.Minute)
			if err := ask(t.Context()); !oci.IsUnknown(err) {
				t.Errorf("a deleted tag, known %v, is back: %v", known, err)
			}
			<-time.After(time.Minute)
			a.says(old, 0)
			if err := ask(t.Context()); err != nil {
				t.Errorf("it was pushed again: %v", err)
			}
		}
	})
}

// What cannot be fetched is not what the tag names: the next request asks the upstream.
func TestSharedThatCannotBeFetched(t *testing.T) {
	for name, failed := range map[string]error{
		"gone":    oci.Errorf(oci.ManifestUnknown, "gone"),
		"down":    cachetest.ErrDown,
		"refused": oci.Errorf(oci.Denied, "no"),
	} {
		for _, head := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := &another{Fake: new(ocitest.Fake)}
					tag := ocitest.ManifestRef(t, "v1")
					wrong := oci.FromBytes([]byte("wrong"))
					a.Fail(func(c ocitest.Call) error {
						if c.Reference == wrong.String() {
							return failed
						}
						return nil
					})
					right := cachetest.Put(a.Fake, "v1", 1)
					f := startShared(t, a)
					a.says(wrong, 0)
					if head {
						if _, err := f.Resolve(t.Context(), tag); !errors.Is(err, failed) {
							t.Errorf("described: %v", err)
						}
					} else if _, err := f.Open(t.Context(), tag); !errors.Is(err, failed) {
						t.Errorf("opened: %v", err)
					}
					f.MustRead(t, tag, right, oci.Fill)
					wantCounts(t, a, 1, 1)
				})
			})
		}
	}
}

// Where there is a stale copy, that is served once and not for longer.
func TestSharedThatCannotBeFetchedAndIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &another{Fake: new(ocitest.Fake)}
		tag := ocitest.ManifestRef(t, "v1")
		old := cachetest.Put(a.Fake, "v1", 1)
		f := startShared(t, a)
		f.MustRead(t, tag, old, oci.Fill)
		f.Settled(t)
		<-time.After(window)
		right := cachetest.Put(a.Fake, "v1", 2)
		a.says(oci.FromBytes([]byte("wrong")), 0)
		f.MustRead(t, tag, old, oci.Stale)
		f.MustRead(t, tag, right, oci.Fill)
		wantCounts(t, a, 1, 2)
	})
}

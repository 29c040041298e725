package tags_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// mustAgree requests ref by HEAD and then by GET, which must agree.
func (f *fixture) mustAgree(t *testing.T, ref oci.Ref, want []byte, via oci.Via) {
	t.Helper()
	result, err := f.Resolve(t.Context(), ref)
	if err != nil || result.Digest != oci.FromBytes(want) || result.Via != via || result.Size != int64(len(want)) {
		t.Errorf("HEAD %s: %+v, %v, want %s via %s", ref, result, err, oci.FromBytes(want), via)
	}
	got, second, err := ocitest.Read(t.Context(), f, ref)
	if err != nil || second.Digest != result.Digest || string(got) != string(want) {
		t.Errorf("GET %s after the HEAD: %+v, %d bytes, %v", ref, second, len(got), err)
	}
}

// A tag has moved to a manifest that cannot be fetched: HEAD and GET both serve the
// stale copy, from the first HEAD on, without a request upstream each time.
func TestHeadIsWhatGetServes(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":     func() error { return cachetest.ErrDown },
		"hangs":     func() error { <-time.After(15 * time.Second); return cachetest.ErrDown },
		"useless":   func() error { return &oci.Error{Code: oci.Unavailable, Message: "another", Err: oci.ErrUnusable} },
		"not found": func() error { return oci.Errorf(oci.ManifestUnknown, "no such manifest") },
		"limited":   func() error { return &oci.LimitError{Kind: oci.LimitPulls, Upstream: ocitest.Upstream} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				tag, stale := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
				f := start(t, fake)
				f.MustRead(t, tag, stale, oci.Fill)
				f.Settled(t)
				newer := cachetest.Put(fake, "v1", 2)
				fake.Fail(func(c ocitest.Call) error {
					if c.Method == "Open" {
						return fail()
					}
					return nil
				})
				<-time.After(2 * time.Minute)
				begun := time.Now()
				f.mustAgree(t, tag, stale, oci.Stale)
				f.mustAgree(t, tag, stale, oci.Stale)
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("four responses took %s", took)
				}
				if n := fake.Calls("Open", oci.FromBytes(newer).String()); n != 1 {
					t.Errorf("%d GETs of the new manifest, want 1", n)
				}
				fake.Fail(nil)
				<-time.After(time.Minute)
				f.mustAgree(t, tag, newer, oci.Fill)
			})
		})
	}
}

// A manifest that is denied is denied for HEAD and GET alike.
func TestDeniedNewManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, stale := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		cachetest.Put(fake, "v1", 2)
		denied := oci.Errorf(oci.Denied, "no")
		fake.Fail(func(c ocitest.Call) error {
			if c.Method == "Open" {
				return denied
			}
			return nil
		})
		<-time.After(2 * time.Minute)
		f.mustRefuse(t, tag, denied)
	})
}

// A HEAD of a tag that has moved costs one pull, which the next GET saves. A HEAD of
// a tag that was never pulled costs none, and is not a hit.
func TestWhatHeadsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, stale := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		for _, want := range []oci.Via{oci.Pass, oci.Known, oci.Known} {
			if result, err := f.Resolve(t.Context(), tag); err != nil || result.Via != want {
				t.Errorf("HEAD: %+v, %v, want %s", result, err, want)
			}
		}
		if n := fake.Calls("Open", oci.FromBytes(stale).String()); n != 0 {
			t.Errorf("HEADs of a tag that was never pulled cost %d pulls", n)
		}
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Minute)
		f.mustAgree(t, tag, newer, oci.Fill)
		f.Settled(t)
		f.mustAgree(t, tag, newer, oci.Hit)
		if n := fake.Calls("Open", oci.FromBytes(newer).String()); n != 1 {
			t.Errorf("%d pulls of the new manifest, want 1", n)
		}
	})
}

// distant is a Registry whose responses take a number of steps; it reports progress
// after each.
type distant struct {
	oci.Registry
	steps int
	step  time.Duration
}

func (d *distant) delay(ctx context.Context) {
	for range d.steps {
		<-time.After(d.step)
		oci.Progress(ctx)()
	}
}

func (d *distant) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	d.delay(ctx)
	return d.Registry.Resolve(ctx, ref)
}

func (d *distant) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	d.delay(ctx)
	return d.Registry.Open(ctx, ref)
}

// Silence ends a client's wait; progress prolongs it, up to a limit.
func TestProgressIsWaitedFor(t *testing.T) {
	for _, test := range []struct {
		steps       int
		step        time.Duration
		silence     time.Duration
		via         oci.Via
		least, most time.Duration
	}{
		{6, 300 * time.Millisecond, 1500 * time.Millisecond, oci.Fill, 3 * time.Second, 4 * time.Second},
		{4, 1400 * time.Millisecond, 1500 * time.Millisecond, oci.Fill, 11 * time.Second, 12 * time.Second},
		{1, 2 * time.Second, 1500 * time.Millisecond, oci.Stale, time.Second, 2 * time.Second},
		{1, 2 * time.Second, 5 * time.Second, oci.Fill, 4 * time.Second, 5 * time.Second},
		{1, 12 * time.Second, 0, oci.Fill, 24 * time.Second, 25 * time.Second}, // any silence
		{100, time.Second, 1500 * time.Millisecond, oci.Stale, 10 * time.Second, 11 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			far := &distant{Registry: fake}
			tag, raw := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
			f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next, o.Tags.Limits.MaxSilence = far, test.silence })
			f.MustRead(t, tag, raw, oci.Fill)
			f.Settled(t)
			<-time.After(2 * time.Minute)
			far.steps, far.step = test.steps, test.step
			if test.via == oci.Fill {
				raw = cachetest.Put(fake, "v1", 2)
			}
			begun := time.Now()
			f.MustRead(t, tag, raw, test.via)
			if took := time.Since(begun); took < test.least || took > test.most {
				t.Errorf("%+v: took %s", test, took)
			}
			<-time.After(time.Hour)
		})
	}
}

// A wait that ends because of silence is counted as such.
func TestSilenceIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, raw := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		<-time.After(2 * time.Minute)
		fake.Fail(func(ocitest.Call) error { <-time.After(5 * time.Second); return nil })
		f.MustRead(t, tag, raw, oci.Stale)
		if n := f.Stats().Tags.Stale[oci.StaleSlow]; n != 1 {
			t.Errorf("%d stale copies because of silence, want 1", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		cachetest.Put(fake, "v2", 2)
		if _, err := f.Resolve(ctx, ocitest.ManifestRef(t, "v2")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the client's own deadline", err)
		}
		<-time.After(time.Minute)
	})
}

// A manifest that arrives after a client's wait has ended is served to the next, also
// for a tag that is never fresh.
func TestLateManifestIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, stale := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake, func(o *cachetest.Options) { o.Tags.Fresh = cachetest.Always(0) })
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		newer := cachetest.Put(fake, "v1", 2)
		fake.Fail(func(c ocitest.Call) error {
			if c.Method == "Open" {
				<-time.After(3 * time.Second)
			}
			return nil
		})
		f.mustAgree(t, tag, stale, oci.Stale)
		<-time.After(4 * time.Second)
		f.mustAgree(t, tag, newer, oci.Revalidated)
	})
}

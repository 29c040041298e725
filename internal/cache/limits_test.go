package cache_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A smaller cache evicts at once, and a larger one holds more.
func TestSetMaxSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		f := start(t, fake, budget(450_000))
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
			<-time.After(time.Second)
		}
		f.Cache.SetLimits(cache.Limits{MaxSize: 250_000})
		if s := f.Stats(); s.Bytes > 250_000 || s.MaxBytes != 250_000 || s.Evictions != 2 {
			t.Errorf("smaller: %+v", s)
		}
		f.Cache.SetLimits(cache.Limits{MaxSize: 450_000})
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		f.MustRead(t, refs[3], contents[3], oci.Hit)
		if s := f.Stats(); s.Evictions != 2 {
			t.Errorf("larger: %+v", s)
		}
	})
}

// More turns are taken at once by fills that wait; with fewer, those that run end first.
func TestSetMaxFills(t *testing.T) {
	for name, test := range map[string]struct {
		before, after int
		most          int32
		took          time.Duration
	}{
		"more":  {1, 4, 4, 50 * time.Second},
		"fewer": {4, 1, 4, 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				var b busy
				fake.Wrap(b.wrap)
				f := start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = test.before })
				refs, contents := blobs(t, fake, 6, 20*mebibyte) // 20 s each
				begun := time.Now()
				var clients sync.WaitGroup
				for i := range refs {
					clients.Go(func() { f.MustRead(t, refs[i], contents[i], oci.Fill) })
				}
				<-time.After(10 * time.Second)
				f.Cache.SetLimits(cache.Limits{MaxSize: 1 << 30, MaxFills: test.after})
				clients.Wait()
				if took := time.Since(begun).Round(time.Second); int32(b.most.Load()) != test.most || took != test.took {
					t.Errorf("%d fills at once took %s, want %d and %s", b.most.Load(), took, test.most, test.took)
				}
			})
		})
	}
}

// A scrub that is turned on begins within a minute.
func TestSetScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 1, 100_000)
		f := start(t, fake)
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		<-time.After(3 * time.Hour)
		if n := f.Stats().Scrubbed; n != 0 {
			t.Errorf("%d blobs scrubbed, want none", n)
		}
		f.Cache.SetLimits(cache.Limits{MaxSize: 1 << 30, Scrub: time.Hour})
		<-time.After(2 * time.Hour)
		if n := f.Stats().Scrubbed; n == 0 {
			t.Error("nothing is scrubbed")
		}
	})
}

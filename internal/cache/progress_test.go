package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Fills say how far they have come, how many waiters they have, and which are queued.
func TestFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, _ := blobs(t, fake, 2, 4*mebibyte)
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 1 })
		if all := f.Cache.Fills(); len(all) != 0 {
			t.Errorf("idle: %+v", all)
		}
		began := time.Now()
		for range 2 {
			content, err := f.Open(t.Context(), refs[0])
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = content.Close() }()
		}
		time.Sleep(time.Second)
		warming, err := f.Open(oci.WithBackground(t.Context()), refs[1])
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		all := f.Cache.Fills()
		if len(all) != 2 {
			t.Fatalf("%+v", all)
		}
		first, second := all[0], all[1]
		if first.Ref != refs[0] || first.Size != 4*mebibyte || first.Waiters != 2 || first.Background || first.Queued || !first.Started.Equal(began) {
			t.Errorf("%+v", first)
		}
		if first.Written < mebibyte || first.Written > 3*mebibyte || first.Rate < mebibyte/2 || first.Rate > 2*mebibyte {
			t.Errorf("after two seconds %d bytes, %.0f a second", first.Written, first.Rate)
		}
		want := cache.Progress{Ref: refs[1], Size: 4 * mebibyte, Waiters: 1, Background: true, Queued: true, Started: began.Add(time.Second)}
		if second != want {
			t.Errorf("queued: %+v", second)
		}
		_ = warming.Close()
		time.Sleep(time.Minute)
		if all := f.Cache.Fills(); len(all) != 0 {
			t.Errorf("afterwards: %+v", all)
		}
	})
}

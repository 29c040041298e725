package tags_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// landing is a cache in which every fetch in flight has landed by the time that it is
// asked about.
type landing struct {
	tags.Cache
	f **fixture
}

func (l landing) InFlight(ref oci.Ref) bool {
	for (*l.f).Cache.Stats().Fills > 0 {
		<-time.After(time.Millisecond)
	}
	return l.Cache.InFlight(ref)
}

// A manifest that lands while the quota is being asked costs no pull, so it is served
// instead of the stale copy, however few pulls are left.
func TestLandingIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag := ocitest.ManifestRef(t, "v1")
		stale := cachetest.Put(fake, "v1", 1)
		var f *fixture
		f = start(t, fake, withQuota(purse), func(o *cachetest.Options) {
			o.Wrap = func(c tags.Cache) tags.Cache { return landing{c, &f} }
		})
		f.MustRead(t, tag, stale, oci.Fill)
		f.Settled(t)
		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Minute)
		purse.set(errReserve, nil)
		cachetest.Pace(fake, 10) // some seconds
		content := make(chan error, 1)
		go func() {
			_, _, err := ocitest.Read(t.Context(), f, ocitest.ManifestRef(t, oci.FromBytes(newer).String()))
			content <- err
		}()
		synctest.Wait()
		f.MustRead(t, tag, newer, oci.Revalidated)
		if err := <-content; err != nil {
			t.Error(err)
		}
	})
}

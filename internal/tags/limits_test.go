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

// Other limits, and another freshness, are those of the tags that are known, too.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		fresh := time.Hour
		f := start(t, fake, func(o *cachetest.Options) {
			o.Tags.Fresh = func(oci.Ref) time.Duration { return fresh }
		})
		f.MustRead(t, tag, raw, oci.Fill)
		f.Settled(t)
		<-time.After(time.Minute)
		f.MustRead(t, tag, raw, oci.Hit)
		fresh = time.Second
		f.Registry.SetLimits(tags.Limits{})
		f.MustRead(t, tag, raw, oci.Revalidated)
		fake.Fail(func(ocitest.Call) error { return oci.Errorf(oci.Unavailable, "down") })
		<-time.After(time.Minute)
		if _, _, err := ocitest.Read(t.Context(), f, tag); oci.CodeOf(err) != oci.Unavailable {
			t.Errorf("%v: a stale copy is served though none may be", err)
		}
	})
}

package tags_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A tag that was checked while the clock was wrong is checked again.
func TestTagCheckedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		f.Settled(t)
		f.Stop()
		r := f.Index.TagRecords[tag]
		r.Checked = time.Now().Add(1000 * time.Hour) // the clock was wrong and has been corrected
		f.Index.TagRecords[tag] = r
		f.Restart(t)
		newer := cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Hour)
		f.MustRead(t, tag, newer, oci.Fill)
	})
}

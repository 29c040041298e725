package tags_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// put caches a manifest that no upstream has sent.
func put(t *testing.T, f *fixture, text string) oci.Descriptor {
	t.Helper()
	raw := []byte(text)
	d := oci.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: oci.FromBytes(raw), Size: int64(len(raw))}
	if err := f.Cache.Put(t.Context(), d.Digest, d.Size, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return d
}

const manifestText = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`

// An adopted tag is as old as it says: it is served when the upstream cannot be asked,
// asked about when it can, and forgotten when it is too old.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, new(ocitest.Fake))
		f.Fake.Fail(cachetest.Down)
		d := put(t, f, manifestText)
		ref := ocitest.ManifestRef(t, "v1")
		checked := time.Now().Add(-time.Hour)
		if err := f.Adopt(ref, d, checked, false); err != nil {
			t.Fatal(err)
		}
		result, err := f.Resolve(t.Context(), ref)
		if err != nil || result.Via != oci.Stale || result.Digest != d.Digest || !result.Checked.Equal(checked) {
			t.Errorf("with the upstream down: %+v, %v", result, err)
		}
		f.Restart(t)
		if known, ok := f.Known(ref); !ok || known.Latest.Digest != d.Digest {
			t.Errorf("after a restart: %+v, %t", known, ok)
		}
		<-time.After(3 * time.Hour)
		if _, err := f.Resolve(t.Context(), ref); err == nil {
			t.Error("served although it is older than max_stale")
		}
	})
}

func TestAdoptNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, new(ocitest.Fake))
		raw := cachetest.Put(f.Fake, "v1", 1)
		ref := ocitest.ManifestRef(t, "v1")
		f.MustRead(t, ref, raw, oci.Fill)
		f.Settled(t)
		d := put(t, f, manifestText)
		old := time.Now().Add(-time.Minute)
		if err := f.Adopt(ref, d, old, false); !errors.Is(err, tags.ErrNewer) {
			t.Errorf("an older one: %v", err)
		}
		if known, _ := f.Known(ref); known.Latest.Digest != oci.FromBytes(raw) {
			t.Error("an older one has replaced the tag")
		}
		if err := f.Adopt(ref, oci.Descriptor{Digest: oci.FromBytes(raw), Size: int64(len(raw))}, old, false); err != nil {
			t.Errorf("the same, older: %v", err)
		}
		if err := f.Adopt(ref, d, old, true); err != nil {
			t.Fatal(err)
		}
		if known, _ := f.Known(ref); known.Latest.Digest != d.Digest || known.Previous.Digest != oci.FromBytes(raw) {
			t.Errorf("with force: %+v", known)
		}
		<-time.After(time.Second)
		if err := f.Adopt(ref, oci.Descriptor{Digest: oci.FromBytes(raw), Size: int64(len(raw))}, time.Now(), false); err != nil {
			t.Errorf("a newer one: %v", err)
		}
	})
}

package cache_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// image has a manifest, a config and layers.
type image struct {
	manifest, config oci.Ref
	layers           []oci.Ref
	contents         map[oci.Ref][]byte
}

func newImage(t *testing.T, fake *ocitest.Fake, n byte, configSize, layers, layerSize int) image {
	t.Helper()
	img := image{contents: make(map[oci.Ref][]byte)}
	add := func(content []byte) oci.Ref {
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, content))
		img.contents[ref] = content
		return ref
	}
	img.config = add(ocitest.Content(configSize, n))
	for i := range layers {
		img.layers = append(img.layers, add(ocitest.Content(layerSize, n+1+byte(i))))
	}
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":%d}}`, img.config.Digest(), configSize)
	d := fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageManifest, raw)
	img.manifest = ocitest.ManifestRef(t, d.String())
	img.contents[img.manifest] = raw
	return img
}

// pull reads all of an image like a client.
func (f *fixture) pull(t *testing.T, img image) {
	t.Helper()
	for _, ref := range append([]oci.Ref{img.manifest, img.config}, img.layers...) {
		got, _, err := ocitest.Read(t.Context(), f, ref)
		if err != nil || string(got) != string(img.contents[ref]) {
			t.Errorf("read %s: %d bytes, %v", ref, len(got), err)
		}
		f.Settled(t)
		<-time.After(2 * time.Second) // what was handed over is closed
		if s := f.Stats(); s.Bytes+s.Reserved > s.MaxBytes {
			t.Errorf("%d bytes are cached and %d reserved, %d allowed", s.Bytes, s.Reserved, s.MaxBytes)
		}
	}
}

// wantCalls checks how often ref was fetched.
func wantCalls(t *testing.T, fake *ocitest.Fake, ref oci.Ref, want int) {
	t.Helper()
	if n := fake.Calls("Open", ref.Reference()); n != want {
		t.Errorf("%s was fetched %d times, want %d", ref, n, want)
	}
}

// An image that is larger than the cache costs one pull: manifest and config stay
// cached while its layers evict each other, also after a restart.
func TestMetadataOutlivesLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		img := newImage(t, fake, 1, 8_000, 7, 3*mebibyte)
		f := start(t, fake, budget(8*mebibyte))
		f.pull(t, img)
		f.pull(t, img)
		f.Stop()
		f.Restart(t, budget(8*mebibyte))
		f.pull(t, img)
		wantCalls(t, fake, img.manifest, 1)
		wantCalls(t, fake, img.config, 1)
		wantCalls(t, fake, img.layers[0], 3)
	})
}

// A config that is fetched before its manifest counts as metadata, too.
func TestConfigBeforeManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		img := newImage(t, fake, 1, 8_000, 4, 3*mebibyte)
		f := start(t, fake, budget(8*mebibyte))
		f.MustRead(t, img.config, img.contents[img.config], oci.Fill)
		f.Settled(t)
		f.pull(t, img)
		f.MustRead(t, img.config, img.contents[img.config], oci.Hit)
	})
}

// A blob that would need the space of manifests bypasses the cache.
func TestLargeBlobDoesNotEvictMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		img := newImage(t, fake, 1, 8_000, 1, 8*mebibyte-1000)
		f := start(t, fake, budget(8*mebibyte))
		f.pull(t, img)
		f.MustRead(t, img.config, img.contents[img.config], oci.Hit)
		if n := f.Stats().Evictions; n != 0 {
			t.Errorf("%d evictions", n)
		}
	})
}

// Manifests beyond their share are evicted like other blobs, the least recently used
// first, to make space for newer ones.
func TestMetadataBeyondItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		f := start(t, fake, budget(800_000)) // their share is 100,000
		manifests := make([]oci.Ref, 40)
		for i := range manifests {
			raw := ocitest.Content(20_000, byte(i))
			manifests[i] = ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageManifest, raw).String())
			f.MustRead(t, manifests[i], raw, oci.Fill)
			f.Settled(t)
			<-time.After(time.Second)
		}
		refs, contents := blobs(t, fake, 8, 200_000)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
			<-time.After(time.Second)
		}
		if s := f.Stats(); s.Entries != 8 || s.Bytes != 700_000 {
			t.Errorf("%d entries of %d bytes are left, want 5 manifests and 3 blobs of 700,000", s.Entries, s.Bytes)
		}
		raw := ocitest.Content(20_000, 99)
		next := ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageManifest, raw).String())
		f.MustRead(t, next, raw, oci.Fill)
		f.Settled(t)
		for i := range 2 {
			f.MustRead(t, refs[6+i], contents[6+i], oci.Hit)
		}
	})
}

// A config that is as large as a layer does not count as metadata.
func TestLargeConfigIsABlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		good := newImage(t, fake, 1, 8_000, 0, 0)
		odd := newImage(t, fake, 50, 3*mebibyte, 4, 3*mebibyte)
		f := start(t, fake, budget(8*mebibyte))
		f.pull(t, good)
		f.pull(t, odd)
		wantCalls(t, fake, good.manifest, 1)
		f.MustRead(t, good.config, good.contents[good.config], oci.Hit)
		f.MustRead(t, odd.config, odd.contents[odd.config], oci.Fill)
		f.Settled(t)
	})
}

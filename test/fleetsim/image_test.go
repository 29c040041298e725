package fleetsim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

const (
	registry, cdn = "registry.example:80", "cdn.registry.example:80"
	repository    = "team/app"
	version       = "v1"
)

// image is what the clients pull: an index of one manifest, with a config and layers.
type image struct {
	tag, index, manifest oci.Ref
	blobs                []oci.Ref             // the config first
	content              map[oci.Digest][]byte // of all of them
	counted              int                   // manifests, of which Docker Hub counts each pull
}

// push pushes the image, whose content depends on seed, to a hub.
func push(t *testing.T, hub *hubsim.Hub, seed byte) *image {
	t.Helper()
	img := &image{content: make(map[oci.Digest][]byte)}
	random := rand.NewChaCha8([32]byte{seed})
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = img.addBlob(t, hub, random, configSize, ocispec.MediaTypeImageConfig)
	m.Layers = append(m.Layers, img.addBlob(t, hub, random, largeLayer, ocispec.MediaTypeImageLayerGzip))
	for range layers {
		m.Layers = append(m.Layers, img.addBlob(t, hub, random, layerSize, ocispec.MediaTypeImageLayerGzip))
	}
	manifest, d := img.addManifest(t, hub, "", m.MediaType, m)
	index := ocispec.Index{Versioned: m.Versioned, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}}
	img.manifest = manifest
	img.index, _ = img.addManifest(t, hub, version, index.MediaType, index)
	var err error
	img.tag, err = oci.ParseManifest(registry, repository, version)
	check(t, err)
	return img
}

func (img *image) addBlob(t *testing.T, hub *hubsim.Hub, random *rand.ChaCha8, size int, mediaType string) ocispec.Descriptor {
	t.Helper()
	content := make([]byte, size)
	_, err := random.Read(content)
	check(t, err)
	d := hub.AddBlob(repository, content)
	ref, err := oci.ParseBlob(registry, repository, d.String())
	check(t, err)
	img.blobs = append(img.blobs, ref)
	img.content[d] = content
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(size)}
}

func (img *image) addManifest(t *testing.T, hub *hubsim.Hub, tag, mediaType string, manifest any) (oci.Ref, ocispec.Descriptor) {
	t.Helper()
	raw, err := json.Marshal(manifest)
	check(t, err)
	d := hub.AddManifest(repository, tag, mediaType, raw)
	ref, err := oci.ParseManifest(registry, repository, d.String())
	check(t, err)
	img.content[d] = raw
	img.counted++
	return ref, ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

// blobBytes is the size of the blobs.
func (img *image) blobBytes() (n int) {
	for _, ref := range img.blobs {
		n += len(img.content[ref.Digest()])
	}
	return n
}

// is reports whether content is what d names.
func (img *image) is(d oci.Digest, content []byte) error {
	if want, ok := img.content[d]; !ok || string(content) != string(want) {
		return fmt.Errorf("%d wrong bytes of %s", len(content), d)
	}
	return nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

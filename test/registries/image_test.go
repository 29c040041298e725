package registries

import (
	"io"
	"slices"
	"testing"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

const (
	layerCount = 2
	layerSize  = 64 << 10 // bytes, before compression
	blobs      = layerCount + 1
	manifests  = 2

	imageType = "application/vnd.oci.image.manifest.v1+json"
	indexType = "application/vnd.oci.image.index.v1+json"
)

// image is an index of one image, which has layers and a configuration.
type image struct {
	index, manifest, config []byte
	layers                  [][]byte
}

func newImage(t *testing.T) *image {
	t.Helper()
	img, err := hubsim.Layers(layerCount, layerSize, 1, hubsim.OCI)
	check(t, err)
	index, err := hubsim.Index(hubsim.OCI, img)
	check(t, err)
	i := new(image)
	i.index, err = index.RawManifest()
	check(t, err)
	i.manifest, err = img.RawManifest()
	check(t, err)
	i.config, err = img.RawConfigFile()
	check(t, err)
	layers, err := img.Layers()
	check(t, err)
	for _, layer := range layers {
		body, err := layer.Compressed()
		check(t, err)
		content, err := io.ReadAll(body)
		check(t, err)
		check(t, body.Close())
		i.layers = append(i.layers, content)
	}
	return i
}

// add adds the image to a repository.
func (i *image) add(hub *hubsim.Hub, repo string, tags ...string) {
	for _, content := range slices.Concat(i.layers, [][]byte{i.config}) {
		hub.AddBlob(repo, content)
	}
	hub.AddManifest(repo, "", imageType, i.manifest)
	for _, tag := range tags {
		hub.AddManifest(repo, tag, indexType, i.index)
	}
}

// digestOf returns the digest of content as clients write it.
func digestOf(content []byte) string { return oci.FromBytes(content).String() }

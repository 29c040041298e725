package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

const (
	smallestLayer = 16 << 10
	largestLayer  = 4 << 20
	sharedLayers  = 5 // that many images begin with
)

// noise puts many images into a catalog. Their blobs are pieces of the same
// random bytes, so that they cost no memory.
type noise struct {
	*catalog
	rand   *rand.Rand
	bytes  []byte
	shared []ocispec.Descriptor
	parts  map[string][]string // the digests of the blobs of each version
	size   int64               // of all that it has put
}

func newNoise(hub *hubsim.Hub) *noise {
	source := rand.NewChaCha8([32]byte{})
	n := &noise{
		catalog: &catalog{hub: hub, blobs: make(map[oci.Digest]blob)},
		rand:    rand.New(source),
		bytes:   make([]byte, 2*largestLayer),
		parts:   make(map[string][]string),
	}
	_, _ = source.Read(n.bytes) // never fails
	return n
}

// publish puts an image in so many versions, each with one of the shared layers
// and some of its own.
func (n *noise) publish(t *testing.T, repo string, versions int) {
	t.Helper()
	added := image{repo: repo}
	for range versions {
		layers := []ocispec.Descriptor{n.sharedLayer(repo)}
		for range 1 + n.rand.IntN(3) {
			layers = append(layers, n.layer(repo))
		}
		config := n.piece(repo, 1000+n.rand.IntN(2000))
		added.versions = append(added.versions, n.manifest(t, repo, config, layers))
	}
	n.hub.SetTag(repo, "latest", oci.Digest(added.versions[0]))
	n.images = append(n.images, added)
}

func (n *noise) manifest(t *testing.T, repo string, config ocispec.Descriptor, layers []ocispec.Descriptor) string {
	t.Helper()
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    layers,
	})
	check(t, err)
	d := n.hub.AddManifest(repo, "", ocispec.MediaTypeImageManifest, raw)
	n.blobs[d] = blob{repo + "/manifests/" + d.String(), raw}
	n.size += int64(len(raw))
	for _, part := range append(layers, config) {
		n.parts[d.String()] = append(n.parts[d.String()], part.Digest.String())
	}
	return d.String()
}

func (n *noise) sharedLayer(repo string) ocispec.Descriptor {
	if len(n.shared) < sharedLayers {
		n.shared = append(n.shared, n.layer(repo))
	}
	d := n.shared[n.rand.IntN(len(n.shared))]
	n.hub.AddBlob(repo, n.blobs[d.Digest].bytes)
	return d
}

// layer puts one of any size, small ones as often as large ones.
func (n *noise) layer(repo string) ocispec.Descriptor {
	return n.piece(repo, int(smallestLayer*math.Pow(largestLayer/smallestLayer, n.rand.Float64())))
}

func (n *noise) piece(repo string, size int) ocispec.Descriptor {
	content := n.bytes[n.rand.IntN(len(n.bytes)-size):][:size]
	d := n.hub.AddBlob(repo, content)
	n.blobs[d] = blob{repo + "/blobs/" + d.String(), content}
	n.size += int64(size)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: int64(size)}
}

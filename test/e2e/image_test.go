//go:build e2e

package e2e

import (
	"archive/tar"
	"errors"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mirrord/internal/hubsim"
)

// image is an image of the hub, with what a client of linux/amd64 should get.
type image struct {
	ref       string   // docker.io/library/name:tag
	id        string   // the digest of its configuration, by which clients know it
	manifests []string // the digests of what a pull reads, from the top
	blobs     []string // the digests of configuration and layers
	layers    []v1.Layer
	size      int64  // of all blobs
	file      string // a file in the last layer
	content   []byte // of that file
}

// publishAll adds an image for several platforms to the hub, and one with twenty
// layers.
func publishAll(t *testing.T, hub *hubsim.Hub) []image {
	t.Helper()
	return []image{publishIndex(t, hub), publishLayers(t, hub, 20, 256<<10)}
}

func publishIndex(t *testing.T, hub *hubsim.Hub) image {
	t.Helper()
	index, err := hubsim.MultiPlatform(1, hubsim.OCI)
	if err != nil {
		t.Fatal(err)
	}
	top, err := hub.AddIndex("library/busybox", "latest", index)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range list.Manifests {
		if child.Platform.Architecture != "amd64" {
			continue
		}
		img, err := index.Image(child.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return describe(t, "docker.io/library/busybox:latest", img, top, child.Digest)
	}
	t.Fatal("the index has no image for amd64")
	return image{}
}

func publishLayers(t *testing.T, hub *hubsim.Hub, n int, size int64) image {
	t.Helper()
	img, err := hubsim.Layers(n, size, 2, hubsim.Docker)
	if err != nil {
		t.Fatal(err)
	}
	top, err := hub.AddImage("library/layers", "v1", img)
	if err != nil {
		t.Fatal(err)
	}
	return describe(t, "docker.io/library/layers:v1", img, top)
}

// oneLayer returns an image of one layer that depends on seed.
func oneLayer(t *testing.T, seed uint64) v1.Image {
	t.Helper()
	img, err := hubsim.Layers(1, 64<<10, seed, hubsim.OCI)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// publishOne adds such an image to the hub.
func publishOne(t *testing.T, hub *hubsim.Hub, name string, seed uint64) image {
	t.Helper()
	img := oneLayer(t, seed)
	top, err := hub.AddImage("library/"+name, "v1", img)
	if err != nil {
		t.Fatal(err)
	}
	return describe(t, "docker.io/library/"+name+":v1", img, top)
}

// publishPinned is publishOne for pulls by digest.
func publishPinned(t *testing.T, hub *hubsim.Hub, name string, seed uint64) image {
	t.Helper()
	img := publishOne(t, hub, name, seed)
	img.ref = "docker.io/library/" + name + "@" + img.manifests[0]
	return img
}

func describe(t *testing.T, ref string, img v1.Image, manifests ...v1.Hash) image {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	described := image{ref: ref, id: m.Config.Digest.String()}
	for _, digest := range manifests {
		described.manifests = append(described.manifests, digest.String())
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		described.blobs = append(described.blobs, d.Digest.String())
		described.size += d.Size
	}
	if described.layers, err = img.Layers(); err != nil {
		t.Fatal(err)
	}
	last, err := described.layers[len(described.layers)-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	described.file, described.content = lastFile(t, last)
	return described
}

// lastFile reads the last file in the archive of a layer.
func lastFile(t *testing.T, layer io.Reader) (name string, content []byte) {
	t.Helper()
	for archive := tar.NewReader(layer); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return name, content
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name = header.Name
		if content, err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// once returns a count of one for each digest, as the hub should have.
func once(digests ...[]string) map[string]int {
	counts := make(map[string]int)
	for _, some := range digests {
		for _, digest := range some {
			counts[digest] = 1
		}
	}
	return counts
}

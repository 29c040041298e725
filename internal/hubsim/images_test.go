package hubsim

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestImagesAreValidAndReproducible(t *testing.T) {
	for _, f := range []Format{OCI, Docker} {
		for name, build := range map[string]func(seed uint64) (v1.Image, error){
			"busybox": func(seed uint64) (v1.Image, error) {
				return BusyboxImage("/nonexistent", v1.Platform{OS: "linux", Architecture: "amd64"}, seed, f)
			},
			"layers": func(seed uint64) (v1.Image, error) { return Layers(3, 100<<10, seed, f) },
		} {
			first, again, other := digestOf(t, build, 1), digestOf(t, build, 1), digestOf(t, build, 2)
			if first != again || first == other {
				t.Errorf("%s: seeds 1, 1, 2 gave %s, %s, %s", name, first, again, other)
			}
			img, _ := build(1)
			if err := validate.Image(img); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if mediaType, _ := img.MediaType(); mediaType != f.manifest() {
				t.Errorf("%s: media type %s, want %s", name, mediaType, f.manifest())
			}
		}
	}
}

func digestOf(t *testing.T, build func(uint64) (v1.Image, error), seed uint64) v1.Hash {
	t.Helper()
	img, err := build(seed)
	if err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAddIndexAddsImages(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	index, err := MultiPlatform(1, Docker)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	d, err := h.AddIndex(repo, "latest", index)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, h)
	c.do("GET", "/v2/"+repo+"/manifests/latest").want(t, 200).
		wantHeader(t, "Docker-Content-Digest", d.String()).
		wantHeader(t, "Content-Type", string(types.DockerManifestList))
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 2 {
		t.Fatalf("index of %d images (%v), want 2", len(list.Manifests), err)
	}
	for _, child := range list.Manifests {
		c.do("GET", "/v2/"+repo+"/manifests/"+child.Digest.String()).want(t, 200)
		img, err := index.Image(child.Digest)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, blob := range append(parts.Layers, parts.Config) {
			if size := c.do("HEAD", "/v2/"+repo+"/blobs/"+blob.Digest.String()).want(t, 200).ContentLength; size != blob.Size {
				t.Errorf("blob %s has %d bytes, want %d", blob.Digest, size, blob.Size)
			}
		}
	}
}

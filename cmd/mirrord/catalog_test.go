package main

import (
	"bytes"
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// catalog is a Docker Hub with images, and the bytes of all that is in it.
type catalog struct {
	hub    *hubsim.Hub
	images []image
	blobs  map[oci.Digest]blob // and manifests
}

// image is a repository with a tag "latest", and what that may name.
type image struct {
	repo     string
	versions []string // digests
}

type blob struct {
	path  string // below /v2/
	bytes []byte
}

func newCatalog(t *testing.T) *catalog {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{NoAuth: true})
	check(t, err)
	t.Cleanup(hub.Close)
	return &catalog{hub: hub, blobs: make(map[oci.Digest]blob)}
}

// addLayers puts an image of n layers, in one version for each seed. Those of one
// size and seed have layers in common.
func (c *catalog) addLayers(t *testing.T, repo string, n int, size int64, seeds ...uint64) {
	t.Helper()
	added := image{repo: repo}
	for _, seed := range seeds {
		img, err := hubsim.Layers(n, size, seed, hubsim.OCI)
		check(t, err)
		d, err := c.hub.AddImage(repo, "latest", img)
		check(t, err)
		added.versions = append(added.versions, d.String())
		c.learn(t, repo, d.String())
	}
	c.images = append(c.images, added)
}

// learn notes the bytes of an image.
func (c *catalog) learn(t *testing.T, repo, version string) {
	t.Helper()
	p := puller{base: c.hub.URL() + "/v2/" + repo}
	check(t, p.pull(version))
	for _, answer := range slices.Clone(p.answers) {
		var raw bytes.Buffer
		check(t, p.get(answer.what, &raw))
		c.blobs[answer.digest] = blob{repo + "/" + answer.what, raw.Bytes()}
	}
}

// digests are those of blobs, in an order that is the same each time.
func (c *catalog) digests() []oci.Digest { return slices.Sorted(maps.Keys(c.blobs)) }

// move lets the tag of img name some version of it.
func (c *catalog) move(img image, r *rand.Rand) {
	d := img.versions[r.IntN(len(img.versions))]
	c.hub.SetTag(img.repo, "latest", oci.Digest(d))
}

// upstream is the flag for a mirror of the catalog.
func (c *catalog) upstream() string { return "--upstream=name=docker.io,url=" + c.hub.URL() }

// pullAll pulls every image from a mirror.
func (c *catalog) pullAll(t *testing.T, m *process) {
	t.Helper()
	for _, img := range c.images {
		p := puller{base: "http://" + m.mirror + "/v2/" + img.repo}
		if err := p.pull("latest"); err != nil {
			t.Errorf("pull %s: %v", img.repo, err)
		}
	}
}

// largest is the digest of the largest blob.
func (c *catalog) largest() oci.Digest {
	return slices.MaxFunc(c.digests(), func(a, b oci.Digest) int {
		return cmp.Compare(len(c.blobs[a].bytes), len(c.blobs[b].bytes))
	})
}

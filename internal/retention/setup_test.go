package retention_test

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/retention"
	"mirrord/internal/route"
	"mirrord/test/cachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var table = route.NewTable(route.Upstream{Name: ocitest.Upstream})

// index is a retention.Index that outlives one Retention.
type index map[oci.Ref]retention.Pin

func (ix index) Pins() iter.Seq2[retention.Pin, error] {
	return func(yield func(retention.Pin, error) bool) {
		for p := range maps.Values(ix) {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (ix index) UpdatePins(put []retention.Pin, remove []oci.Ref) error {
	for _, p := range put {
		ix[p.Ref] = p
	}
	for _, ref := range remove {
		delete(ix, ref)
	}
	return nil
}

// leaving is an index whose client goes away as soon as it has written.
type leaving struct {
	index
	leave func()
}

func (ix leaving) UpdatePins(put []retention.Pin, remove []oci.Ref) error {
	defer ix.leave()
	return ix.index.UpdatePins(put, remove)
}

// mirror is a running cache with a Retention for it.
type mirror struct {
	*cachetest.Fixture
	*retention.Retention
	index    index
	tooLarge []oci.Ref // that were reported
}

// start runs a cache in front of fake, in which so many bytes may be pinned.
func start(t *testing.T, fake *ocitest.Fake, maxPinned int64, change ...func(*cachetest.Options)) *mirror {
	t.Helper()
	m := &mirror{Fixture: cachetest.Start(t, fake, change...), index: make(index)}
	m.reopen(t, maxPinned)
	return m
}

// reopen has another Retention with the same index.
func (m *mirror) reopen(t *testing.T, maxPinned int64) {
	t.Helper()
	m.open(t, m.index, maxPinned)
}

func (m *mirror) open(t *testing.T, ix retention.Index, maxPinned int64) {
	t.Helper()
	m.Retention = retention.New(t.Context(), retention.Options{
		Images: images.New(images.Options{Tags: m.Registry, Cache: m.Cache, Routes: func() route.Table { return table }}),
		Tags:   m.Registry, Cache: m.Cache, Index: ix, Max: maxPinned,
		TooLarge: func(ref oci.Ref, _ int64) { m.tooLarge = append(m.tooLarge, ref) },
	})
}

// image adds an image with layers to the upstream, and returns its manifest.
func (m *mirror) image(t *testing.T, tag string, layers ...[]byte) []byte {
	t.Helper()
	describe := func(raw []byte) ocispec.Descriptor {
		d := m.Fake.AddBlob(ocitest.Repo, raw)
		return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(raw))}
	}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: describe([]byte(`{"os":"` + tag + `"}`))}
	manifest.SchemaVersion = 2
	for _, layer := range layers {
		manifest.Layers = append(manifest.Layers, describe(layer))
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	m.Fake.AddManifest(ocitest.Repo, tag, ocispec.MediaTypeImageManifest, raw)
	return raw
}

// pull pulls an image, and waits until it is cached. It is for a synctest bubble.
func (m *mirror) pull(t *testing.T, tag string) {
	t.Helper()
	m.read(t, ocitest.ManifestRef(t, tag))
	m.Settled(t)
	raw, _, err := ocitest.Read(t.Context(), m.Fixture, ocitest.ManifestRef(t, tag))
	var manifest ocispec.Manifest
	if err != nil || json.Unmarshal(raw, &manifest) != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for _, d := range slices.Concat([]ocispec.Descriptor{manifest.Config}, manifest.Layers) {
		m.read(t, ocitest.BlobRef(t, d.Digest))
	}
	m.Settled(t)
}

func (m *mirror) read(t *testing.T, ref oci.Ref) {
	t.Helper()
	if _, _, err := ocitest.Read(t.Context(), m.Fixture, ref); err != nil {
		t.Fatal(err)
	}
}

// cached reports whether content is.
func (m *mirror) cached(raw []byte) bool {
	_, have := m.Cache.Blob(oci.FromBytes(raw))
	return have
}

// pattern is that of an image of the repository.
func pattern(t *testing.T, tag string) []retention.Pattern {
	t.Helper()
	p, err := images.ParsePattern(ocitest.Upstream+"/"+ocitest.Repo+":"+tag, table)
	if err != nil {
		t.Fatal(err)
	}
	return []retention.Pattern{p}
}

package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"mirrord/internal/archive"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repo is the repository of the tests, at upstream.
const repo, upstream = "library/app", oci.DockerHub

func parse(name string) (oci.Ref, error) {
	repository, tag, _ := strings.Cut(strings.TrimPrefix(name, upstream+"/"), ":")
	if strings.HasPrefix(name, "unknown.example/") {
		return oci.Ref{}, fmt.Errorf("no upstream is named %q", "unknown.example")
	}
	if before, digest, ok := strings.Cut(repository, "@"); ok {
		repository, tag = before, digest+":"+tag
	}
	return oci.ParseManifest(upstream, repository, tag)
}

func mustParse(t testing.TB, name string) oci.Ref {
	t.Helper()
	ref, err := parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// start runs an empty mirror whose upstream has nothing.
func start(t *testing.T, change ...func(*cachetest.Options)) *cachetest.Fixture {
	t.Helper()
	return cachetest.Start(t, new(ocitest.Fake), change...)
}

// put caches content.
func put(t testing.TB, f *cachetest.Fixture, raw []byte) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{Digest: oci.FromBytes(raw), Size: int64(len(raw))}
	if err := f.Cache.Put(context.Background(), d.Digest, d.Size, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return d
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// image returns the manifest of an image whose config and layers are content.
func image(t testing.TB, content ...[]byte) []byte {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	for i, raw := range content {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: oci.FromBytes(raw), Size: int64(len(raw))}
		if i == 0 {
			d.MediaType = ocispec.MediaTypeImageConfig
			m.Config = d
		} else {
			m.Layers = append(m.Layers, d)
		}
	}
	return encode(t, m)
}

// index returns an index of manifests by platform.
func index(t testing.TB, manifests map[string][]byte) []byte {
	all := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	all.SchemaVersion = 2
	for _, platform := range []string{"linux/amd64", "linux/arm64", "unknown/unknown"} {
		if raw, ok := manifests[platform]; ok {
			os, architecture, _ := strings.Cut(platform, "/")
			all.Manifests = append(all.Manifests, ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: oci.FromBytes(raw), Size: int64(len(raw)),
				Platform: &ocispec.Platform{OS: os, Architecture: architecture},
			})
		}
	}
	return encode(t, all)
}

// sample is an image for two platforms.
type sample struct {
	amd64, arm64, index []byte
	blobs               [][]byte // config and layer of amd64, and of arm64
}

func newSample(t testing.TB, name string) sample {
	var s sample
	for _, part := range []string{"amd64 config", "amd64 layer", "arm64 config", "arm64 layer"} {
		s.blobs = append(s.blobs, []byte(strings.Repeat(name+" "+part, 1000)))
	}
	s.amd64, s.arm64 = image(t, s.blobs[:2]...), image(t, s.blobs[2:]...)
	s.index = index(t, map[string][]byte{"linux/amd64": s.amd64, "linux/arm64": s.arm64})
	return s
}

// tag caches the sample for amd64 in a mirror, under a name.
func (s sample) tag(t testing.TB, f *cachetest.Fixture, name string) archive.Image {
	t.Helper()
	for _, raw := range [][]byte{s.blobs[0], s.blobs[1], s.amd64, s.index} {
		put(t, f, raw)
	}
	ref := mustParse(t, name)
	described, ok := f.Cache.Cached(ref.At(oci.FromBytes(s.index)))
	if !ok {
		t.Fatal("the index is not cached as a manifest")
	}
	return archive.Image{Ref: ref, Descriptor: described, Checked: time.Now().Add(-time.Hour).Truncate(time.Second)}
}

// export writes an archive.
func export(t testing.TB, f *cachetest.Fixture, o archive.PlanOptions, images ...archive.Image) []byte {
	t.Helper()
	p, err := archive.NewPlan(context.Background(), f.Cache, images, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := archive.Write(context.Background(), &out, f.Cache, p); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func importAll(t testing.TB, f *cachetest.Fixture, source io.Reader, o archive.ImportOptions) (archive.Summary, error) {
	t.Helper()
	o.Parse = parse
	return archive.Import(context.Background(), source, f.Cache, f.Registry, o)
}

// file is one file of a tar.
type file struct {
	name   string
	raw    []byte
	change func(*tar.Header)
}

// pack makes a tar.
func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.raw)), Mode: 0o644}
		if f.change != nil {
			f.change(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// blob is a blob of an archive.
func blob(raw []byte) file { return file{name: archive.BlobPath(oci.FromBytes(raw)), raw: raw} }

// names is the index.json of an archive with one image.
func names(t testing.TB, name string, manifest []byte) file {
	all := ocispec.Index{Manifests: []ocispec.Descriptor{{
		MediaType: ocispec.MediaTypeImageIndex, Digest: oci.FromBytes(manifest), Size: int64(len(manifest)),
		Annotations: map[string]string{ocispec.AnnotationRefName: name},
	}}}
	all.SchemaVersion = 2
	return file{name: "index.json", raw: encode(t, all)}
}

var layout = file{name: "oci-layout", raw: []byte(`{"imageLayoutVersion":"1.0.0"}`)}

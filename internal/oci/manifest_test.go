package oci_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

func TestManifestType(t *testing.T) {
	t.Parallel()
	const (
		index = ocispec.MediaTypeImageIndex
		image = ocispec.MediaTypeImageManifest
		sbom  = "application/vnd.example.sbom.v1+json"
	)
	for raw, want := range map[string]string{
		`{"mediaType":"` + index + `","manifests":[]}`:                                        index,
		`{"mediaType":"` + oci.DockerManifestList + `","manifests":[]}`:                       oci.DockerManifestList,
		`{"mediaType":"` + image + `","config":{},"layers":[]}`:                               image,
		`{"mediaType":"` + oci.DockerManifest + `","config":{},"layers":[],"manifests":null}`: oci.DockerManifest,
		`{"mediaType":"` + sbom + `","blobs":[]}`:                                             sbom,
		`{"manifests":[]}`: index,
		`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[]}`:       image,
		`{"config":{"mediaType":"application/vnd.example.chart"}}`:                              image,
		`{"config":{"mediaType":"application/vnd.docker.container.image.v1+json"},"layers":[]}`: oci.DockerManifest,
		`{"schemaVersion":1,"fsLayers":[]}`:                                                     oci.DockerSchema1,
		`{"schemaVersion":2}`:                                                                   "",
		` {} `:                                                                                  "",
	} {
		got, err := oci.ManifestType([]byte(raw))
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		``, `null`, `"text"`, `[]`, `7`, `<html>`, `{"a":1`, `{} {}`,
		`{"mediaType":7}`,
		`{"mediaType":"text/html"}`,
		`{"mediaType":"application/json\r\nX-Evil: 1"}`,
		`{"mediaType":"application/` + strings.Repeat("x", 300) + `+json"}`,
		`{"manifests":[],"layers":[]}`,
		`{"manifests":[],"config":{}}`,
		`{"mediaType":"` + index + `","manifests":[],"layers":[]}`,
		`{"mediaType":"` + index + `","config":{}}`,
		`{"mediaType":"` + image + `","layers":[],"manifests":[]}`,
		`{"mediaType":"` + oci.DockerManifestList + `","layers":[]}`,
		`{"mediaType":"` + oci.DockerManifest + `","MANIFESTS":[]}`, // Go's clients read it so
		`{"manifests":[],"layers":[],"LAYERS":null}`,
		`{"manifests":[],"config":{},"config":null}`,
		`{"mediaType":"` + index + `","mediaType":"` + sbom + `"}`,
		`{"mediaType":"` + index + `","MediaType":""}`,
	} {
		if got, err := oci.ManifestType([]byte(raw)); !errors.Is(err, oci.ErrNotManifest) {
			t.Errorf("%.60s: %q, %v; want ErrNotManifest", raw, got, err)
		}
	}
}

// A document that ManifestType accepts is never both an index and an image to a
// client that decodes it into the types of the spec, as Go clients do.
func FuzzManifestType(f *testing.F) {
	for _, raw := range []string{
		`{"manifests":[{}]}`, `{"layers":[{}],"LAYERS":null}`, `{"mediaType":"` + oci.DockerManifest + `","config":{},"Manifests":[{}]}`, `null`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := oci.ManifestType(raw)
		if err != nil || got == "" {
			return
		}
		if !oci.IsManifestType(got) {
			t.Errorf("%q: %q is not a manifest type", raw, got)
		}
		var index ocispec.Index
		var image ocispec.Manifest
		if json.Unmarshal(raw, &index) != nil || json.Unmarshal(raw, &image) != nil {
			return
		}
		known := got == ocispec.MediaTypeImageIndex || got == ocispec.MediaTypeImageManifest || got == oci.DockerManifest || got == oci.DockerManifestList
		if known && len(index.Manifests) > 0 && len(image.Layers) > 0 {
			t.Errorf("%q is %s, and an index and an image", raw, got)
		}
	})
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for d, want := range map[oci.Descriptor]bool{
		{MediaType: ocispec.MediaTypeImageIndex, Size: 2}:               true,
		{MediaType: ocispec.MediaTypeImageIndex, Size: 0}:               false,
		{MediaType: ocispec.MediaTypeImageIndex, Size: oci.UnknownSize}: false,
		{MediaType: "application/json", Size: 2}:                        false,
		{MediaType: "application/octet-stream", Size: 2}:                false,
		{MediaType: "text/plain", Size: 2}:                              false,
		{Size: 2}:                                                       false,
	} {
		if d.Complete() != want {
			t.Errorf("%+v: %v", d, !want)
		}
	}
}

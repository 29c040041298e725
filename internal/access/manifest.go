package access

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/cosign"
	"mirrord/internal/oci"
)

// manifest has the members of a manifest that requirements are about.
type manifest struct {
	mediaType    string
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Annotations  map[string]string    `json:"annotations"`
}

// openManifest reads the manifest ref, by digest, from r. A client that is served it
// has caused the pull already.
func openManifest(ctx context.Context, r oci.Registry, ref oci.Ref) (*manifest, error) {
	raw, found, err := readContent(ctx, r, ref, oci.MaxManifestSize)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	m := &manifest{mediaType: found.MediaType}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, oci.Errorf(oci.Denied, "its manifest is invalid: %w", err)
	}
	return m, nil
}

// readContent reads what ref names, which must not have more than most bytes.
func readContent(ctx context.Context, r oci.Registry, ref oci.Ref, most int64) ([]byte, oci.Result, error) {
	content, err := r.Open(oci.WithPartHint(ctx, oci.Span{}), ref)
	if err != nil {
		return nil, oci.Result{}, err
	}
	defer func() { _ = content.Close() }()
	if content.Size > most {
		return nil, oci.Result{}, tooLarge(ref, most)
	}
	raw, err := io.ReadAll(io.LimitReader(content.Body, most+1))
	if err != nil {
		return nil, oci.Result{}, err
	}
	if int64(len(raw)) > most {
		return nil, oci.Result{}, tooLarge(ref, most)
	}
	return raw, content.Result, nil
}

func tooLarge(ref oci.Ref, most int64) error {
	return oci.Errorf(oci.Denied, "%s %s has more than %d bytes, too many to check it", ref.Kind(), ref.Digest(), most)
}

// readBlob reads a blob that a manifest refers to.
func readBlob(ctx context.Context, r oci.Registry, manifest oci.Ref, d oci.Digest, most int64) ([]byte, error) {
	ref, err := oci.ParseBlob(manifest.Upstream(), manifest.Repository(), d.String())
	if err != nil {
		return nil, oci.Errorf(oci.Denied, "its manifest is invalid: %w", err)
	}
	raw, _, err := readContent(ctx, r, ref, most)
	return raw, err
}

// configTypes are the media types of the configurations with which Docker and
// containerd run an image; the last four are those of old registries, which Docker
// accepts.
var configTypes = []string{
	ocispec.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json",
	"", "application/octet-stream", "application/json", "text/html",
}

// isImage reports whether m can be run: by its configuration, or because it has a layer
// of a file system.
func (m *manifest) isImage() bool {
	return m.Config != nil && (slices.Contains(configTypes, m.Config.MediaType) || slices.ContainsFunc(m.Layers, isFileSystem))
}

func isFileSystem(layer ocispec.Descriptor) bool {
	return strings.HasPrefix(layer.MediaType, "application/vnd.oci.image.layer.") ||
		strings.HasPrefix(layer.MediaType, "application/vnd.docker.image.rootfs.")
}

func (m *manifest) isIndex() bool {
	return m.mediaType == ocispec.MediaTypeImageIndex || m.mediaType == oci.DockerManifestList
}

// signatureTypes are the media types of the layers of what cosign and others attach to
// an image: signatures, attestations and bills of materials. None of them can be run.
var signatureTypes = []string{
	cosign.SimpleSigning,
	"application/vnd.dsse.envelope.v1+json",
	"application/vnd.in-toto+json",
	"application/vnd.cncf.notary.signature",
	"application/jose+json", "application/cose",
	"text/spdx", "text/spdx+json", "application/spdx+json",
	"application/vnd.cyclonedx", "application/vnd.cyclonedx+json", "application/vnd.cyclonedx+xml",
	"application/vnd.syft+json",
}

// isSignature reports whether m is something attached to an image and nothing else.
func (m *manifest) isSignature() bool {
	return len(m.Layers) > 0 && !slices.ContainsFunc(m.Layers, func(layer ocispec.Descriptor) bool {
		return !slices.Contains(signatureTypes, layer.MediaType) && !cosign.IsBundle(layer.MediaType)
	})
}

// Package archive moves images between mirrors that cannot reach each other: it writes
// what is cached of chosen images as an OCI image layout in a tar, and reads such an
// archive, or the directory of a registry (distribution), into a cache.
//
// What is read is as hostile as what an upstream sends: names are parsed and never used as
// paths, and content counts only when it hashes to its digest. A tag is adopted with the
// time at which its upstream was asked.
package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// Cache is what archives are written from and read into; *cache.Cache is one.
type Cache interface {
	// Cached describes ref, by digest, if it can be served now.
	Cached(ref oci.Ref) (oci.Descriptor, bool)
	// OpenCached opens ref, by digest; it fails with fs.ErrNotExist.
	OpenCached(ctx context.Context, ref oci.Ref) (*oci.Content, error)
	// Put caches size bytes of source as d once they are verified.
	Put(ctx context.Context, d oci.Digest, size int64, source io.Reader) error
	// Link is Put by a hard link to f.
	Link(ctx context.Context, d oci.Digest, size int64, f *os.File) error
	// Hold keeps what is cached of ds from being evicted until release.
	Hold(ds ...oci.Digest) (missing []oci.Digest, release func())
}

// Tags are those of the mirror; *tags.Registry is one.
type Tags interface {
	// Adopt notes that ref, a tag, named d at checked. It fails with tags.ErrNewer.
	Adopt(ref oci.Ref, d oci.Descriptor, checked time.Time, force bool) error
}

// Image is one image of an archive: a tag, or a manifest by its digest.
type Image struct {
	Ref oci.Ref
	oci.Descriptor
	Checked time.Time // when its upstream was last asked for the tag
}

// The annotations of an image in the index of an archive.
const (
	nameAnnotation    = "io.containerd.image.name" // upstream/repository:tag
	checkedAnnotation = "io.mirrord.checked"       // Image.Checked, RFC 3339
)

// maxDepth is how many indexes an image may be below.
const maxDepth = 4

// document is a manifest: an index, or an image with its config and layers.
type document struct {
	index     bool
	Manifests []ocispec.Descriptor `json:"manifests"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
}

// parseDocument reads a manifest and validates the digests and sizes in it.
func parseDocument(raw []byte) (document, error) {
	var d document
	mediaType, err := oci.ManifestType(raw)
	if err != nil {
		return d, err
	}
	switch mediaType {
	case ocispec.MediaTypeImageIndex, oci.DockerManifestList:
		d.index = true
	case ocispec.MediaTypeImageManifest, oci.DockerManifest:
	default:
		return d, fmt.Errorf("manifests of type %q cannot be archived", mediaType)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, fmt.Errorf("%w: %w", oci.ErrNotManifest, err)
	}
	for _, named := range [][]ocispec.Descriptor{d.Manifests, d.blobs()} {
		for _, n := range named {
			if err := checkDescriptor(n); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

func checkDescriptor(d ocispec.Descriptor) error {
	if _, err := oci.ParseDigest(d.Digest.String()); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("%s has a negative size", d.Digest)
	}
	return nil
}

// blobs are the config and the layers of an image.
func (d document) blobs() []ocispec.Descriptor {
	if d.index || d.Config == nil {
		return d.Layers
	}
	return append([]ocispec.Descriptor{*d.Config}, d.Layers...)
}

// isForeign reports whether a layer may be missing: its licence forbids registries to
// have it, and clients get it elsewhere.
func isForeign(layer ocispec.Descriptor) bool { return len(layer.URLs) > 0 }

// blobOf returns the ref of a blob in the repository of ref.
func blobOf(ref oci.Ref, d oci.Digest) (oci.Ref, error) {
	return oci.ParseBlob(ref.Upstream(), ref.Repository(), d.String())
}

// readDocument reads the manifest d in the repository of ref from the cache. It is read
// as a blob: a pull is not saved by this. It fails with fs.ErrNotExist when d is not
// cached as a manifest.
func readDocument(ctx context.Context, c Cache, ref oci.Ref, d oci.Digest) (document, oci.Descriptor, error) {
	described, ok := c.Cached(ref.At(d))
	if !ok {
		return document{}, described, fs.ErrNotExist
	}
	blob, err := blobOf(ref, d)
	if err != nil {
		return document{}, described, err
	}
	content, err := c.OpenCached(ctx, blob)
	if err != nil {
		return document{}, described, err
	}
	raw, err := io.ReadAll(io.LimitReader(content.Body, oci.MaxManifestSize+1))
	err = errors.Join(err, content.Close())
	if err != nil || len(raw) > oci.MaxManifestSize {
		return document{}, described, errors.Join(err, fmt.Errorf("read manifest %s", d))
	}
	parsed, err := parseDocument(raw)
	if err != nil {
		err = fmt.Errorf("manifest %s: %w", d, err)
	}
	return parsed, described, err
}

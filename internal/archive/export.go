package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"time"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// Write writes the archive of p as a tar: first the index, then manifests, then the
// other blobs. The same plan is the same bytes. What is read from the cache is verified;
// it is not evicted meanwhile. Progress is called with the bytes of each blob that was
// written.
func Write(ctx context.Context, w io.Writer, c Cache, p *Plan) error {
	digests := make([]oci.Digest, len(p.Blobs))
	for i, b := range p.Blobs {
		digests[i] = b.Ref.Digest()
	}
	missing, release := c.Hold(digests...)
	defer release()
	if len(missing) > 0 {
		return fmt.Errorf("%s was evicted or lost meanwhile; export again", missing[0])
	}
	t := tar.NewWriter(w)
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := json.Marshal(indexOf(p))
	if err != nil {
		return err
	}
	if err := writeFile(t, ocispec.ImageLayoutFile, layout); err != nil {
		return err
	}
	if err := writeFile(t, ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	for _, b := range p.Blobs {
		if err := writeBlob(ctx, t, c, b); err != nil {
			return fmt.Errorf("export %s: %w", b.Ref.Digest(), err)
		}
	}
	return t.Close()
}

// indexOf returns the index of the archive, which names the images.
func indexOf(p *Plan) ocispec.Index {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{},
	}
	for _, image := range p.Images {
		name := image.Ref.String()
		annotations := map[string]string{ocispec.AnnotationRefName: name, nameAnnotation: name}
		if !image.Checked.IsZero() {
			annotations[checkedAnnotation] = image.Checked.UTC().Format(time.RFC3339)
		}
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: image.MediaType, Digest: image.Digest, Size: image.Size, Annotations: annotations,
		})
	}
	return index
}

// BlobPath is the name of a blob in an image layout.
func BlobPath(d oci.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// header is that of a regular file, the same on every mirror.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

func writeFile(t *tar.Writer, name string, raw []byte) error {
	if err := t.WriteHeader(header(name, int64(len(raw)))); err != nil {
		return err
	}
	_, err := t.Write(raw)
	return err
}

func writeBlob(ctx context.Context, t *tar.Writer, c Cache, b Blob) error {
	ref, err := blobOf(b.Ref, b.Ref.Digest())
	if err != nil {
		return err
	}
	content, err := c.OpenCached(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	if err := t.WriteHeader(header(BlobPath(ref.Digest()), content.Size)); err != nil {
		return err
	}
	verifier := ref.Digest().Verifier()
	if _, err := io.Copy(io.MultiWriter(t, verifier), content.Body); err != nil {
		return err
	}
	if !verifier.Verified() {
		return fmt.Errorf("it is damaged on the disk: run mirrord verify --repair, and export again")
	}
	return ctx.Err()
}

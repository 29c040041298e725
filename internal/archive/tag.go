package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// tagAll tags the images of an archive's index.
func (m *importer) tagAll(ctx context.Context, f found) error {
	images, err := parseIndex(f.raw)
	if err != nil {
		return fmt.Errorf("index.json in the archive: %w", err)
	}
	if m.o.As != "" && len(images) != 1 {
		return fmt.Errorf("the archive has %d images: a name can be given to a single one only", len(images))
	}
	for _, image := range images {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := cmp.Or(m.o.As, nameOf(image))
		m.sum.Images = append(m.sum.Images, m.tag(ctx, name, image.Digest, checkedAt(image, f.made)))
	}
	return nil
}

// parseIndex returns the images of an index.
func parseIndex(raw []byte) ([]ocispec.Descriptor, error) {
	var index struct {
		SchemaVersion int                  `json:"schemaVersion"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("it is invalid JSON: %w", err)
	}
	if index.SchemaVersion != 2 {
		return nil, fmt.Errorf("its schemaVersion is %d, and has to be 2", index.SchemaVersion)
	}
	if len(index.Manifests) == 0 {
		return nil, errors.New("it names no images")
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, err
		}
	}
	return index.Manifests, nil
}

// nameOf returns what an archive calls an image; others than mirrord may have a tag alone
// as its name, or none.
func nameOf(image ocispec.Descriptor) string {
	return cmp.Or(image.Annotations[nameAnnotation], image.Annotations[ocispec.AnnotationRefName])
}

// onlyTag says what the name of an image consists of that is not the whole name.
func onlyTag(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", only %q", clip(name))
}

// checkedAt returns when the upstream was asked for a tag: as the archive says, or when
// that was made. What is to come, or before there were images, is a wrong clock's: then
// it is now.
func checkedAt(image ocispec.Descriptor, made time.Time) time.Time {
	now := time.Now()
	said, err := time.Parse(time.RFC3339, image.Annotations[checkedAnnotation])
	if err != nil {
		said = made
	}
	if said.After(now) || said.Year() < 2013 {
		return now
	}
	return said
}

// tag tags one image, if it is there.
func (m *importer) tag(ctx context.Context, name string, d oci.Digest, checked time.Time) Imported {
	done := Imported{Image: clip(name), Digest: d}
	if m.o.As == "" && !strings.ContainsAny(name, "/:@") { // a tag alone, or nothing
		done.Error = fmt.Sprintf("the archive does not say which image this is%s: name it with --as UPSTREAM/REPOSITORY:TAG", onlyTag(name))
		return done
	}
	ref, err := m.o.Parse(name)
	if err != nil {
		done.Error = err.Error()
		return done
	}
	done.Image = ref.String()
	if ref.ByDigest() && ref.Digest() != d {
		done.Error = fmt.Sprintf("the archive has %s under this name", d)
		return done
	}
	return m.tagRef(ctx, done, ref, checked)
}

// tagRef tags the image done as ref.
func (m *importer) tagRef(ctx context.Context, done Imported, ref oci.Ref, checked time.Time) Imported {
	err := m.complete(ctx, ref, done.Digest, 0)
	var lacking incomplete
	if errors.As(err, &lacking) && m.o.Partial && !lacking.root {
		done.Notes, err = lacking.Error(), nil
	}
	if err == nil && !ref.ByDigest() {
		described, _ := m.cache.Cached(ref.At(done.Digest))
		err = m.tags.Adopt(ref, described, checked, m.o.Force)
	}
	if err != nil {
		done.Error, done.Newer = err.Error(), errors.Is(err, tags.ErrNewer)
	}
	return done
}

// incomplete is the error of an image of which something is missing.
type incomplete struct {
	digest oci.Digest
	root   bool // it is the manifest itself
}

func (e incomplete) Error() string { return "it is not complete: " + e.digest.String() + " is missing" }

// complete fails when something is missing of an image. Of an index some platforms may be
// missing, but not all, and those that are there have to be complete.
func (m *importer) complete(ctx context.Context, ref oci.Ref, d oci.Digest, depth int) error {
	if err, ok := m.known[d]; ok {
		return err
	}
	err := m.check(ctx, ref, d, depth)
	m.known[d] = err
	return err
}

func (m *importer) check(ctx context.Context, ref oci.Ref, d oci.Digest, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("its indexes are nested more than %d deep", maxDepth)
	}
	doc, _, err := readDocument(ctx, m.cache, ref, d)
	if errors.Is(err, fs.ErrNotExist) {
		return incomplete{d, depth == 0}
	}
	if err != nil {
		return err
	}
	if doc.index {
		return m.checkIndex(ctx, ref, doc, depth)
	}
	for _, b := range doc.blobs() {
		if !m.hold(b.Digest) && !isForeign(b) {
			return incomplete{b.Digest, false}
		}
	}
	return nil
}

func (m *importer) checkIndex(ctx context.Context, ref oci.Ref, doc document, depth int) error {
	var missing error
	there := 0
	for _, child := range doc.Manifests {
		if _, ok := m.cache.Cached(ref.At(child.Digest)); !ok {
			missing = cmp.Or(missing, error(incomplete{child.Digest, false}))
			continue
		}
		if err := m.complete(ctx, ref, child.Digest, depth+1); err != nil {
			return err
		}
		if !isAttestation(child) {
			there++
		}
	}
	if there == 0 {
		return missing
	}
	return nil
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// Plan is what an archive of some images consists of.
type Plan struct {
	Images  []Image
	Blobs   []Blob // in the order of the archive: manifests first, each once
	Missing []Missing
}

// Blob is a blob of an archive.
type Blob struct {
	Ref  oci.Ref // by digest
	Size int64
}

// Bytes is the size of what the archive consists of.
func (p *Plan) Bytes() int64 {
	var n int64
	for _, b := range p.Blobs {
		n += b.Size
	}
	return n
}

// Missing is a part of an image that is not cached.
type Missing struct {
	Image  string     `json:"image"`
	Part   string     `json:"part"` // such as: layer, or manifest of linux/arm64
	Digest oci.Digest `json:"digest,omitempty"`
	Size   int64      `json:"size,omitempty"` // as its manifest says
}

func (m Missing) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s", m.Image, m.Part, m.Digest))
}

// PlanOptions choose what of images is archived.
type PlanOptions struct {
	Platforms []string // such as linux/arm64; empty: all whose manifests are cached

	// Fetch caches a manifest or a blob, by digest, that is missing. nil: it is listed.
	Fetch func(ctx context.Context, ref oci.Ref) error
}

// planner makes one Plan.
type planner struct {
	cache     Cache
	fetch     func(ctx context.Context, ref oci.Ref) error
	platforms []oci.Platform      // empty: all
	seen      map[oci.Digest]bool // what the archive has
	visited   map[oci.Digest]bool // manifests of the image that is being added
	manifests []Blob
	blobs     []Blob
	missing   []Missing
}

// NewPlan finds out what the archive of images consists of, and what of that is missing.
// It fails when a platform is not one, or an image has none of the platforms.
func NewPlan(ctx context.Context, c Cache, images []Image, o PlanOptions) (*Plan, error) {
	p := &planner{cache: c, fetch: o.Fetch, seen: make(map[oci.Digest]bool)}
	for _, text := range o.Platforms {
		parsed, err := oci.ParsePlatform(text)
		if err != nil {
			return nil, err
		}
		p.platforms = append(p.platforms, parsed)
	}
	for _, image := range images {
		p.visited = make(map[oci.Digest]bool)
		if err := p.add(ctx, image, image.Digest, "manifest", 0); err != nil {
			return nil, fmt.Errorf("%s: %w", image.Ref, err)
		}
	}
	return &Plan{Images: images, Blobs: append(p.manifests, p.blobs...), Missing: p.missing}, nil
}

// add adds a manifest of image, and what it names, once: indexes may name the same ones
// over and over at each depth.
func (p *planner) add(ctx context.Context, image Image, d oci.Digest, part string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("its indexes are nested more than %d deep", maxDepth)
	}
	if p.visited[d] {
		return nil
	}
	p.visited[d] = true
	doc, described, err := p.read(ctx, image.Ref, d)
	if errors.Is(err, fs.ErrNotExist) {
		p.miss(image, part, d, 0)
		return nil
	}
	if err != nil {
		return err
	}
	if !p.seen[d] {
		p.seen[d] = true
		p.manifests = append(p.manifests, Blob{image.Ref.At(d), described.Size})
	}
	if doc.index {
		return p.addIndex(ctx, image, doc, depth)
	}
	return p.addBlobs(ctx, image, doc)
}

// read reads a manifest, and fetches it before if it is missing.
func (p *planner) read(ctx context.Context, ref oci.Ref, d oci.Digest) (document, oci.Descriptor, error) {
	doc, described, err := readDocument(ctx, p.cache, ref, d)
	if !errors.Is(err, fs.ErrNotExist) || p.fetch == nil {
		return doc, described, err
	}
	if err := p.fetch(ctx, ref.At(d)); err != nil {
		return doc, described, err
	}
	return readDocument(ctx, p.cache, ref, d)
}

func (p *planner) miss(image Image, part string, d oci.Digest, size int64) {
	p.missing = append(p.missing, Missing{Image: image.Ref.String(), Part: part, Digest: d, Size: size})
}

// addIndex adds the chosen platforms of an index: those that are asked for, or else those
// that are cached.
func (p *planner) addIndex(ctx context.Context, image Image, doc document, depth int) error {
	chosen := 0
	var others []string
	for _, m := range doc.Manifests {
		name := platformName(m)
		switch {
		case isAttestation(m):
			if !p.isComplete(ctx, image.Ref, m.Digest) {
				continue
			}
		case len(p.platforms) > 0 && !p.matches(m), len(p.platforms) == 0 && !p.isCached(image.Ref, m.Digest):
			others = append(others, name)
			continue
		default:
			chosen++
		}
		if err := p.add(ctx, image, m.Digest, "manifest of "+name, depth+1); err != nil {
			return err
		}
	}
	switch {
	case chosen > 0 || len(others) == 0:
		return nil
	case len(p.platforms) > 0:
		return fmt.Errorf("it has none of the chosen platforms, but %s", strings.Join(others, ", "))
	case p.fetch != nil:
		return fmt.Errorf("none of its platforms is cached: choose what to fetch with --platform, among %s", strings.Join(others, ", "))
	}
	p.miss(image, "a manifest of any platform of "+strings.Join(others, ", "), "", 0)
	return nil
}

func (p *planner) matches(m ocispec.Descriptor) bool {
	of, named := oci.PlatformOf(m)
	return !named || slices.Contains(p.platforms, of)
}

func (p *planner) isCached(ref oci.Ref, d oci.Digest) bool {
	_, ok := p.cache.Cached(ref.At(d))
	return ok
}

// isAttestation reports whether a manifest of an index is about another one, as BuildKit
// adds them.
func isAttestation(m ocispec.Descriptor) bool {
	return m.Platform != nil && m.Platform.OS == "unknown"
}

// isComplete reports whether an image is cached whole.
func (p *planner) isComplete(ctx context.Context, ref oci.Ref, d oci.Digest) bool {
	doc, _, err := readDocument(ctx, p.cache, ref, d)
	if err != nil || doc.index {
		return false
	}
	for _, b := range doc.blobs() {
		blob, err := blobOf(ref, b.Digest)
		if err != nil {
			return false
		}
		if _, ok := p.cache.Cached(blob); !ok {
			return false
		}
	}
	return true
}

// addBlobs adds the config and the layers of an image.
func (p *planner) addBlobs(ctx context.Context, image Image, doc document) error {
	for i, b := range doc.blobs() {
		if p.seen[b.Digest] {
			continue
		}
		ref, err := blobOf(image.Ref, b.Digest)
		if err != nil {
			return err
		}
		described, ok := p.cache.Cached(ref)
		if !ok && p.fetch != nil && !isForeign(b) {
			if err := p.fetch(ctx, ref); err != nil {
				return err
			}
			described, ok = p.cache.Cached(ref)
		}
		switch {
		case ok:
			p.seen[b.Digest] = true
			p.blobs = append(p.blobs, Blob{ref, described.Size})
		case !isForeign(b):
			p.miss(image, partName(i, doc), b.Digest, b.Size)
		}
	}
	return nil
}

func partName(i int, doc document) string {
	if i == 0 && doc.Config != nil {
		return "config"
	}
	return "layer"
}

func platformName(m ocispec.Descriptor) string {
	if m.Platform == nil {
		return "no platform"
	}
	return strings.TrimSuffix(m.Platform.OS+"/"+m.Platform.Architecture+"/"+m.Platform.Variant, "/")
}

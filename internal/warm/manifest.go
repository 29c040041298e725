package warm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// manifest is what an index or an image names.
type manifest struct {
	Manifests []ocispec.Descriptor
	Config    ocispec.Descriptor
	Layers    []ocispec.Descriptor
}

// readManifest reads the manifest that content is, and closes it.
func readManifest(content *oci.Content) (manifest, error) {
	raw, err := io.ReadAll(io.LimitReader(content.Body, oci.MaxManifestSize+1))
	if err := errors.Join(err, content.Close()); err != nil {
		return manifest{}, err
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return manifest{}, fmt.Errorf("%s: %w: %w", content.Digest, oci.ErrNotManifest, err)
	}
	return m, nil
}

// maxManifests is how many manifests of one image are looked at, and pulled: real ones
// have fewer than fifty.
const maxManifests = 200

// visited are the manifests below that of one image which were looked at. Indexes may
// name the same ones over and over, at each depth.
type visited map[oci.Digest]bool

// children returns the refs of the wanted images of an index that are not in seen, and
// adds them; none for an image.
func (m manifest) children(ref oci.Ref, want wanted, seen visited) ([]oci.Ref, error) {
	if len(m.Manifests) == 0 {
		return nil, nil
	}
	chosen, err := want.choose(m.Manifests)
	if err != nil {
		return nil, err
	}
	var refs []oci.Ref
	for _, d := range chosen {
		child, err := oci.ParseManifest(ref.Upstream(), ref.Repository(), d.Digest.String())
		if err != nil || !child.ByDigest() {
			return nil, fmt.Errorf("%s names an invalid digest %.80q", ref, d.Digest)
		}
		if seen[child.Digest()] {
			continue
		}
		if seen[child.Digest()] = true; len(seen) > maxManifests {
			return nil, fmt.Errorf("has more than %d manifests; choose some with --platform", maxManifests)
		}
		refs = append(refs, child)
	}
	return refs, nil
}

// blob is one that an image names.
type blob struct {
	ref  oci.Ref
	size int64
}

// blobs returns what an image names and its registry has, each once: not the layers that
// are at another place only.
func (m manifest) blobs(ref oci.Ref) ([]blob, error) {
	var all []blob
	named := make(map[oci.Ref]bool)
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if d.Digest == "" || len(d.URLs) > 0 || strings.Contains(d.MediaType, "foreign") || strings.Contains(d.MediaType, "nondistributable") {
			continue
		}
		b, err := oci.ParseBlob(ref.Upstream(), ref.Repository(), d.Digest.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		if !named[b] {
			named[b] = true
			all = append(all, blob{b, max(d.Size, 0)})
		}
	}
	return all, nil
}

// missing returns the blobs of an image that are not cached.
func (w *Warmer) missing(ref oci.Ref, m manifest) ([]blob, error) {
	all, err := m.blobs(ref)
	var missing []blob
	for _, b := range all {
		if _, cached := w.opts.Cache.Cached(b.ref); !cached {
			missing = append(missing, b)
		}
	}
	return missing, err
}

// cached returns the manifest of ref, by digest, if it is cached.
func (w *Warmer) cached(ctx context.Context, ref oci.Ref) (m manifest, ok bool, err error) {
	if _, ok := w.opts.Cache.Cached(ref); !ok {
		return manifest{}, false, nil
	}
	content, err := w.opts.Cache.OpenCached(ctx, ref)
	if err != nil {
		return manifest{}, false, nil // it is damaged, and fetched again
	}
	m, err = readManifest(content)
	return m, err == nil, err
}

package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/cosign"
	"mirrord/internal/oci"
)

// The limits of one search: whoever can push to a repository decides what is in it.
const (
	maxSignatureManifests = 16 // each costs a pull once
	maxSignatures         = 64
	maxReferrerPages      = 4
)

// search is one search for a signature of an image, in its repository.
type search struct {
	keys  cosign.Keys
	next  oci.Registry
	image oci.Ref

	manifests  int   // that may still be read
	signatures int   // that may still be verified
	failed     error // why something could not be read that may have been the signature
}

// run reports whether there is a signature. It looks under the tag first, because a HEAD
// of it costs no pull.
func (s *search) run(ctx context.Context) bool {
	return s.tagged(ctx) || s.attached(ctx)
}

// failure is why no signature was found.
func (s *search) failure() error {
	if s.failed != nil {
		return fmt.Errorf("look for a signature: %w", s.failed)
	}
	seen := maxSignatures - s.signatures
	return oci.Errorf(oci.Denied, "it has no signature by a key of that rule (%d signatures were checked); sign it with cosign, or if it is part of a signed index, pull that", seen)
}

// fail remembers an error after which a signature may exist nevertheless.
func (s *search) fail(err error) {
	if s.failed == nil && oci.Temporary(err) {
		s.failed = err
	}
}

// tagged looks under the tag that cosign 2 writes.
func (s *search) tagged(ctx context.Context) bool {
	found, ok := s.resolve(ctx, ".sig")
	return ok && s.manifest(ctx, found)
}

// resolve looks up the tag of the image's digest with a suffix.
func (s *search) resolve(ctx context.Context, suffix string) (oci.Ref, bool) {
	tag := strings.Replace(s.image.Digest().String(), ":", "-", 1) + suffix
	ref, err := oci.ParseManifest(s.image.Upstream(), s.image.Repository(), tag)
	if err != nil {
		return oci.Ref{}, false // the hash is too long for a tag
	}
	result, err := s.next.Resolve(ctx, ref)
	if err != nil {
		s.fail(err)
		return oci.Ref{}, false
	}
	return ref.At(result.Digest), true
}

// attached looks among the referrers of the image, which cosign 3 writes.
func (s *search) attached(ctx context.Context) bool {
	query := ""
	for range maxReferrerPages {
		listing, err := oci.ParseReferrers(s.image.Upstream(), s.image.Repository(), s.image.Digest().String(), query)
		if err != nil {
			return false
		}
		page, err := s.next.List(ctx, listing)
		if errors.Is(err, oci.ErrNoReferrers) {
			return s.attachedByTag(ctx)
		}
		if err != nil {
			s.fail(err)
			return false
		}
		if s.referrers(ctx, page.Index) {
			return true
		}
		if query = page.Next; query == "" {
			return false
		}
	}
	return false
}

// attachedByTag is attached for an upstream without referrers: clients write the list
// under a tag.
func (s *search) attachedByTag(ctx context.Context) bool {
	ref, ok := s.resolve(ctx, "")
	if !ok {
		return false
	}
	raw, _, err := readContent(ctx, s.next, ref, oci.MaxManifestSize)
	if err != nil {
		s.fail(err)
		return false
	}
	return s.referrers(ctx, raw)
}

// referrers looks into the manifests of an index that may be signatures.
func (s *search) referrers(ctx context.Context, raw []byte) bool {
	var index struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if json.Unmarshal(raw, &index) != nil {
		return false
	}
	for _, d := range index.Manifests {
		digest, err := oci.ParseDigest(d.Digest.String())
		if err == nil && mayBeSignature(d) && s.manifest(ctx, s.image.At(digest)) {
			return true
		}
	}
	return false
}

// manifest verifies the signatures in one manifest.
func (s *search) manifest(ctx context.Context, ref oci.Ref) bool {
	if s.manifests == 0 {
		return false
	}
	s.manifests--
	m, err := openManifest(ctx, s.next, ref)
	if err != nil {
		s.fail(err)
		return false
	}
	for _, layer := range m.Layers {
		if s.layer(ctx, layer) {
			return true
		}
	}
	return false
}

// layer verifies one signature, in the format that the media type says.
func (s *search) layer(ctx context.Context, layer ocispec.Descriptor) bool {
	size := int64(0)
	switch {
	case layer.MediaType == cosign.SimpleSigning:
		size = cosign.MaxPayload
	case cosign.IsBundle(layer.MediaType):
		size = cosign.MaxBundle
	}
	if size == 0 || s.signatures == 0 {
		return false
	}
	s.signatures--
	raw, err := readBlob(ctx, s.next, s.image, layer.Digest, size)
	if err != nil {
		s.fail(err)
		return false
	}
	digest := s.image.Digest().String()
	if layer.MediaType == cosign.SimpleSigning {
		return s.keys.VerifyPayload(raw, layer.Annotations[cosign.SignatureAnnotation], digest) == nil
	}
	return s.keys.VerifyBundle(raw, digest) == nil
}

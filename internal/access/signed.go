package access

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/cosign"
	"mirrord/internal/oci"
)

const (
	maxSigned    = 1 << 15          // manifests that are remembered as signed, and as part of a signed index
	maxOthers    = 1 << 12          // that are remembered as unsigned, and as attached to others
	unsignedLife = 30 * time.Second // a signature may be pushed at any moment
)

// Signed is the Requirement that cosign has signed an image with one of some keys, in
// its repository. What a signed index names is signed. Signatures and what else is
// attached to images need no signature: without them nobody could verify one.
type Signed struct {
	keys     cosign.Keys
	met      *lru.Cache[oci.Ref, []oci.Ref] // what is signed, and what it names
	members  *lru.Cache[oci.Ref, struct{}]  // of signed indexes
	attached *lru.Cache[oci.Ref, struct{}]  // what needs no signature, except by a tag for images
	unsigned *lru.Cache[oci.Ref, refused]
}

// refused is an error that holds for a while.
type refused struct {
	err   error
	until time.Time
}

// NewSigned returns the requirement of a signature by one of keys.
func NewSigned(keys cosign.Keys) *Signed {
	return &Signed{
		keys: keys, met: newLRU[[]oci.Ref](maxSigned), members: newLRU[struct{}](maxSigned),
		attached: newLRU[struct{}](maxOthers), unsigned: newLRU[refused](maxOthers),
	}
}

func newLRU[V any](size int) *lru.Cache[oci.Ref, V] {
	c, err := lru.New[oci.Ref, V](size)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return c
}

// Check implements Requirement.
func (s *Signed) Check(ctx context.Context, next oci.Registry, ref oci.Ref, tag string) error {
	if named, ok := s.met.Get(ref); ok {
		s.remember(named)
		return nil
	}
	forImages := tag != "" && !oci.IsReferrersTag(tag)
	if _, ok := s.attached.Get(ref); ok && !forImages {
		return nil
	}
	_, member := s.members.Get(ref)
	if known, ok := s.unsigned.Get(ref); ok && !member && time.Now().Before(known.until) {
		return known.err
	}
	m, err := openManifest(ctx, next, ref)
	if err != nil {
		return err
	}
	if !forImages && m.isAttached(tag) {
		s.attached.Add(ref, struct{}{})
		return nil
	}
	if !member {
		if err := s.find(ctx, next, ref); err != nil {
			return err
		}
	}
	s.trust(ref, m)
	return nil
}

// isAttached reports whether m is something attached to an image, or the index of that.
// Some programs run whatever has the configuration of an image, even if its layers claim
// to be signatures, and the signatures of cosign 2 have one: such a manifest must
// be asked for by the tag of a signature, before it can be by digest.
func (m *manifest) isAttached(tag string) bool {
	return m.isReferrers() || m.isSignature() && (!m.isImage() || tag != "")
}

// trust remembers that m is signed, and so is what it names.
func (s *Signed) trust(ref oci.Ref, m *manifest) {
	var named []oci.Ref
	for _, child := range m.Manifests {
		if d, err := oci.ParseDigest(child.Digest.String()); err == nil && m.isIndex() {
			named = append(named, ref.At(d))
		}
	}
	s.met.Add(ref, named)
	s.remember(named)
}

// remember makes members of signed indexes the most recently used: they are pulled
// after their index.
func (s *Signed) remember(members []oci.Ref) {
	for _, ref := range members {
		s.members.Add(ref, struct{}{})
	}
}

// find looks for a signature of ref. That there is none is remembered.
func (s *Signed) find(ctx context.Context, next oci.Registry, ref oci.Ref) error {
	search := &search{keys: s.keys, next: next, image: ref, signatures: maxSignatures, manifests: maxSignatureManifests}
	if search.run(ctx) {
		return nil
	}
	err := search.failure()
	if !oci.Temporary(err) {
		s.unsigned.Add(ref, refused{err, time.Now().Add(unsignedLife)})
	}
	return err
}

// isReferrers reports whether m is the index of what is attached to an image, under a
// referrers tag. That it needs no signature lends none to what it names.
func (m *manifest) isReferrers() bool {
	if !m.isIndex() {
		return false
	}
	for _, d := range m.Manifests {
		if d.ArtifactType == "" || d.Platform != nil {
			return false
		}
	}
	return true
}

// mayBeSignature reports whether a referrer can be a signature of cosign, so that it
// is worth a pull. Registries that do not know an artifact's type write that of its
// configuration.
func mayBeSignature(d ocispec.Descriptor) bool {
	if predicate, ok := d.Annotations[cosign.PredicateAnnotation]; ok && predicate != cosign.SignPredicate {
		return false
	}
	switch d.ArtifactType {
	case "", ocispec.MediaTypeEmptyJSON, ocispec.MediaTypeImageConfig, "application/vnd.dev.cosign.artifact.sig.v1+json":
		return true
	}
	return cosign.IsBundle(d.ArtifactType)
}

package oci

import (
	"fmt"
	"strings"

	// The digest algorithms of the spec.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
)

// DockerHub is the name of the upstream whose repositories of one component are
// below library/.
const DockerHub = "docker.io"

// Digest is a content digest such as sha256:<hex>.
type Digest = digest.Digest

// Kind is the kind of content that a reference names.
type Kind uint8

const (
	Manifest Kind = iota + 1
	Blob
)

func (k Kind) String() string {
	switch k {
	case Manifest:
		return "manifest"
	case Blob:
		return "blob"
	}
	return "none"
}

// Ref names one piece of content: a manifest by tag or digest, or a blob by
// digest, in a repository of an upstream. Only the Parse functions create one,
// so every part of a Ref is valid. It is comparable and can be a map key. The
// zero Ref names nothing.
type Ref struct {
	upstream   string
	repository string
	kind       Kind
	tag        string
	digest     Digest
}

// ParseRepository returns the upstream's repository for the name that a client
// uses: the name itself, or library/<name> for official images of Docker Hub. It
// fails with NAME_INVALID.
func ParseRepository(upstream, name string) (string, error) {
	repository := name
	if upstream == DockerHub && !strings.Contains(name, "/") {
		repository = "library/" + name
	}
	if !validName(repository) {
		return "", Errorf(NameInvalid, "invalid repository name %q", clip(name))
	}
	return repository, nil
}

// ParseManifest returns the Ref of a manifest; reference is a tag or a digest.
// It fails with NAME_INVALID, DIGEST_INVALID or, for an invalid tag, which no
// manifest can have, MANIFEST_UNKNOWN.
func ParseManifest(upstream, name, reference string) (Ref, error) {
	repository, err := ParseRepository(upstream, name)
	if err != nil {
		return Ref{}, err
	}
	ref := Ref{upstream: upstream, repository: repository, kind: Manifest}
	if strings.Contains(reference, ":") {
		ref.digest, err = ParseDigest(reference)
		return ref, err
	}
	if !validTag(reference) {
		return Ref{}, Errorf(ManifestUnknown, "invalid tag %q", clip(reference))
	}
	ref.tag = reference
	return ref, nil
}

// ParseBlob returns the Ref of a blob. It fails with NAME_INVALID or
// DIGEST_INVALID.
func ParseBlob(upstream, name, reference string) (Ref, error) {
	repository, err := ParseRepository(upstream, name)
	if err != nil {
		return Ref{}, err
	}
	d, err := ParseDigest(reference)
	if err != nil {
		return Ref{}, err
	}
	return Ref{upstream: upstream, repository: repository, kind: Blob, digest: d}, nil
}

// ParseDigest validates s. It fails with DIGEST_INVALID.
func ParseDigest(s string) (Digest, error) {
	if hex, ok := strings.CutPrefix(s, "sha256:"); ok && validSHA256(hex) {
		return Digest(s), nil
	}
	d, err := digest.Parse(s)
	if err != nil {
		return "", Errorf(DigestInvalid, "invalid digest %q: %v", clip(s), err)
	}
	return d, nil
}

// FromBytes returns the sha256 digest of p.
func FromBytes(p []byte) Digest { return digest.FromBytes(p) }

// clip shortens client input for an error message.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Upstream is the name of the upstream, such as docker.io.
func (r Ref) Upstream() string { return r.upstream }

// Repository is the repository at the upstream, such as library/alpine.
func (r Ref) Repository() string { return r.repository }

// Kind is the kind of the content, 0 only for the zero Ref.
func (r Ref) Kind() Kind { return r.kind }

// Tag is empty for a reference by digest.
func (r Ref) Tag() string { return r.tag }

// Digest is empty for a reference by tag.
func (r Ref) Digest() Digest { return r.digest }

// ByDigest reports whether r names content by digest, so that it can never change.
func (r Ref) ByDigest() bool { return r.digest != "" }

// At returns the reference to the content d in r's repository.
func (r Ref) At(d Digest) Ref {
	r.tag, r.digest = "", d
	return r
}

// IsReferrersTag reports whether signatures, attestations and other referrers of
// a manifest are looked up under tag: the referrers tag schema of
// distribution-spec 1.1 and the tags of cosign. A wrong 404 for such a tag makes
// clients conclude that there are none.
func IsReferrersTag(tag string) bool {
	return strings.HasPrefix(tag, "sha256-") || strings.HasPrefix(tag, "sha512-")
}

// Reference is the tag or the digest, as in the last part of a request path.
func (r Ref) Reference() string {
	if r.digest != "" {
		return r.digest.String()
	}
	return r.tag
}

// String returns r as people write it: docker.io/library/alpine:3.
func (r Ref) String() string {
	separator := ":"
	if r.ByDigest() {
		separator = "@"
	}
	return fmt.Sprintf("%s/%s%s%s", r.upstream, r.repository, separator, r.Reference())
}

package images

import (
	"context"
	"encoding/json"
	"math"
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// contents are what a manifest names. Everything in them comes from an upstream: digests
// are valid and sizes not negative, and nothing else is known.
type contents struct {
	size     int64   // of the manifest itself, in bytes
	children []child // of an index
	config   blob    // of an image; zero if it has none
	layers   []blob  // of an image
}

// child is a manifest that an index names.
type child struct {
	blob
	platform    string // empty: it names none
	attestation bool   // it describes another one, and no client pulls it with the image
}

// blob is what a descriptor says.
type blob struct {
	digest oci.Digest
	size   int64
}

// maxConfig is how many bytes of a config are read for its platform.
const maxConfig = 1 << 20

// maxNamed is how many manifests or layers of one manifest are looked at. Real ones have
// fewer than a hundred.
const maxNamed = 2000

// parseContents returns what the manifest raw names. What it names more than once, or by
// an invalid digest, counts once or not at all.
func parseContents(raw []byte) (contents, error) {
	var m struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Config    ocispec.Descriptor   `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return contents{}, err
	}
	c := contents{size: int64(len(raw))}
	seen := make(map[oci.Digest]bool)
	add := func(d ocispec.Descriptor) (blob, bool) {
		digest, err := oci.ParseDigest(string(d.Digest))
		if err != nil || seen[digest] || d.Size < 0 {
			return blob{}, false
		}
		seen[digest] = true
		return blob{digest, d.Size}, true
	}
	for _, d := range m.Manifests[:min(len(m.Manifests), maxNamed)] {
		if b, ok := add(d); ok {
			platform := platformOf(d.Platform)
			c.children = append(c.children, child{b, platform, platform == unknownPlatform || d.Annotations[attestationKey] != ""})
		}
	}
	c.config, _ = add(m.Config)
	for _, d := range m.Layers[:min(len(m.Layers), maxNamed)] {
		if b, ok := add(d); ok {
			c.layers = append(c.layers, b)
		}
	}
	return c, nil
}

const (
	attestationKey  = "vnd.docker.reference.type" // an annotation that BuildKit gives to attestations
	unknownPlatform = "unknown/unknown"
)

// wordRE matches what a part of a platform may be, as people are shown it.
var wordRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// platformOf returns a platform as in linux/arm64/v8, or nothing if it is none.
func platformOf(p *ocispec.Platform) string {
	if p == nil || !wordRE.MatchString(p.OS) || !wordRE.MatchString(p.Architecture) {
		return ""
	}
	name := p.OS + "/" + p.Architecture
	if wordRE.MatchString(p.Variant) {
		name += "/" + p.Variant
	}
	return name
}

// contentsOf returns what the cached manifest d names. It fails when d is not cached.
func (i *Images) contentsOf(ctx context.Context, d oci.Digest) (contents, error) {
	if c, ok := i.parsed.Get(d); ok {
		if _, have := i.opts.Cache.Blob(d); have {
			return c, nil
		}
		i.parsed.Remove(d)
	}
	raw, err := i.opts.Cache.Peek(ctx, d, oci.MaxManifestSize)
	if err != nil {
		return contents{}, err
	}
	c, err := parseContents(raw)
	if err == nil {
		i.parsed.Add(d, c)
	}
	return c, err
}

// platformIn returns the platform that the cached config d names, or nothing.
func (i *Images) platformIn(ctx context.Context, d oci.Digest) string {
	raw, err := i.opts.Cache.Peek(ctx, d, maxConfig)
	var p ocispec.Platform
	if err != nil || json.Unmarshal(raw, &p) != nil {
		return ""
	}
	return platformOf(&p)
}

// sum adds sizes that anybody may have written.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

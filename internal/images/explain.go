package images

import (
	"context"

	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Explanation is what the mirror knows of one image, and what a pull of it would cost
// now. Sizes are in bytes.
type Explanation struct {
	Ref    oci.Ref
	Tag    *tags.Known // nil: a tag that is not known, or a digest
	Digest oci.Digest  // what a pull gets if the tag has not moved; empty: not known
	Stale  oci.Digest  // what is served instead while that cannot be fetched; empty: nothing
	Size   int64       // of the manifest; 0: it is not cached
	Uses   Uses        // of a tag

	Variants []Variant // one for an image, one for each platform of an index; none if the manifest is not cached
}

// Variant is the image for one platform.
type Variant struct {
	Platform    string // empty: not known
	Attestation bool   // it describes another variant; clients do not pull it
	Digest      oci.Digest
	Cached      bool // its manifest is; if not, nothing is known of its layers

	Blobs, BlobsCached int   // config and layers
	Present, Missing   int64 // of the manifest, the config and the layers

	Pulls int // manifest GETs that a pull of it spends now
}

// Explain returns what is known of ref, a manifest.
func (i *Images) Explain(ctx context.Context, ref oci.Ref) Explanation {
	e := Explanation{Ref: ref, Digest: ref.Digest()}
	if !ref.ByDigest() {
		e.Uses = i.Seen.Of(ref)
		if known, ok := i.opts.Tags.Known(ref); ok {
			e.Tag, e.Digest = &known, known.Latest.Digest
			if served := i.served(known); served != e.Digest {
				e.Stale = served
			}
		}
	}
	named, err := i.contentsOf(ctx, e.Digest)
	if err != nil {
		return e
	}
	e.Size = named.size
	if len(named.children) == 0 {
		e.Variants = []Variant{i.imageVariant(ctx, e.Digest, named)}
		return e
	}
	for _, child := range named.children {
		e.Variants = append(e.Variants, i.childVariant(ctx, child))
	}
	return e
}

// imageVariant explains an image that is not part of an index, and whose manifest is
// cached.
func (i *Images) imageVariant(ctx context.Context, d oci.Digest, named contents) Variant {
	v := Variant{Digest: d, Cached: true, Present: named.size, Platform: i.platformIn(ctx, named.config.digest)}
	v.count(i.opts.Cache, named)
	return v
}

// childVariant explains a part of an index.
func (i *Images) childVariant(ctx context.Context, c child) Variant {
	v := Variant{Platform: c.platform, Attestation: c.attestation, Digest: c.digest}
	named, err := i.contentsOf(ctx, c.digest)
	if err != nil {
		v.Pulls, v.Missing = 1, c.size
		return v
	}
	v.Cached, v.Present = true, named.size
	v.count(i.opts.Cache, named)
	return v
}

// count counts what of an image is cached.
func (v *Variant) count(cached Cache, named contents) {
	blobs := named.layers
	if named.config.digest != "" {
		blobs = append([]blob{named.config}, blobs...)
	}
	for _, b := range blobs {
		v.Blobs++
		if record, have := cached.Blob(b.digest); have {
			v.BlobsCached++
			v.Present = sum(v.Present, record.Size)
		} else {
			v.Missing = sum(v.Missing, b.size)
		}
	}
}

// Known reports whether the mirror knows anything of the image.
func (e Explanation) Known() bool { return e.Tag != nil || e.Size > 0 }

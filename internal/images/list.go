package images

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Image is a tag, and what of the image that it names is cached. Sizes are in bytes.
type Image struct {
	Ref       oci.Ref
	Digest    oci.Digest // what the tag names
	Platforms []string   // whose manifests are cached, sorted; none if that is not known
	Size      int64      // of all that is cached of it
	Shared    int64      // of that also part of other images of the mirror
	Used      time.Time  // when anything of its manifests was last used; zero: nothing is cached
	Uses      Uses
}

// List returns the images that match, the one last used first. It reads the manifests of
// all, to know what they share, and fails when ctx ends.
func (i *Images) List(ctx context.Context, p Pattern) ([]Image, error) {
	known := i.opts.Tags.All()
	users := make(map[oci.Digest]int) // by blob: how many different images have it
	cached := make(map[oci.Digest]parts)
	for _, k := range known {
		d := i.served(k)
		if _, done := cached[d]; done {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		cached[d] = i.partsOf(ctx, d)
		for _, b := range cached[d].blobs {
			users[b.digest]++
		}
	}
	var all []Image
	for _, k := range known {
		d := i.served(k)
		if p.Match(k.Ref) || p.Match(k.Ref.At(d)) {
			all = append(all, i.imageOf(k.Ref, d, cached[d], users))
		}
	}
	slices.SortFunc(all, func(a, b Image) int {
		return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.Ref.String(), b.Ref.String()))
	})
	return all, nil
}

// Names returns the tags that match, sorted, without reading any manifest.
func (i *Images) Names(p Pattern) []oci.Ref {
	var all []oci.Ref
	for _, k := range i.opts.Tags.All() {
		if p.Match(k.Ref) {
			all = append(all, k.Ref)
		}
	}
	slices.SortFunc(all, func(a, b oci.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

// served returns the digest that a tag is served as: the previous one while the latest is
// not cached.
func (i *Images) served(k tags.Known) oci.Digest {
	if _, have := i.opts.Cache.Blob(k.Latest.Digest); !have && k.Previous.Digest != "" {
		if _, have := i.opts.Cache.Blob(k.Previous.Digest); have {
			return k.Previous.Digest
		}
	}
	return k.Latest.Digest
}

// parts are what is cached of an image.
type parts struct {
	blobs     []blob // each once, with its real size
	platforms []string
	used      time.Time // of its manifests
}

// partsOf returns what is cached of the image with the manifest d.
func (i *Images) partsOf(ctx context.Context, d oci.Digest) parts {
	c := collector{images: i, seen: make(map[oci.Digest]bool)}
	c.addManifest(ctx, d, "", true)
	slices.Sort(c.platforms)
	c.platforms = slices.Compact(c.platforms)
	return c.parts
}

// collector collects the parts of an image.
type collector struct {
	images *Images
	seen   map[oci.Digest]bool
	parts
}

// addManifest adds a manifest and what it names. An index within an index is not
// followed: no client would.
func (c *collector) addManifest(ctx context.Context, d oci.Digest, platform string, top bool) {
	used, have := c.add(d)
	if !have {
		return
	}
	if used.After(c.used) {
		c.used = used
	}
	named, err := c.images.contentsOf(ctx, d)
	if err != nil {
		return
	}
	for _, child := range named.children {
		if top {
			c.addManifest(ctx, child.digest, child.platform, false)
		}
	}
	if named.config.digest == "" {
		return
	}
	if _, have := c.add(named.config.digest); have && platform == "" {
		platform = c.images.platformIn(ctx, named.config.digest)
	}
	for _, layer := range named.layers {
		c.add(layer.digest)
	}
	if platform != "" && platform != unknownPlatform {
		c.platforms = append(c.platforms, platform)
	}
}

// add adds a blob, if it is cached, and returns when it was last used.
func (c *collector) add(d oci.Digest) (used time.Time, have bool) {
	record, have := c.images.opts.Cache.Blob(d)
	if have && !c.seen[d] {
		c.seen[d] = true
		c.blobs = append(c.blobs, blob{d, record.Size})
	}
	return record.Used, have
}

func (i *Images) imageOf(ref oci.Ref, d oci.Digest, p parts, users map[oci.Digest]int) Image {
	image := Image{Ref: ref, Digest: d, Platforms: p.platforms, Used: p.used, Uses: i.Seen.Of(ref)}
	for _, b := range p.blobs {
		image.Size = sum(image.Size, b.size)
		if users[b.digest] > 1 {
			image.Shared = sum(image.Shared, b.size)
		}
	}
	return image
}

package images

import (
	"context"

	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Reach adds to reached what the manifest d needs, with its size in bytes: d, the manifests
// that it names, and the configs and layers of those that are cached. The size of what is
// not cached is the one that its descriptor says.
func (i *Images) Reach(ctx context.Context, d oci.Descriptor, reached map[oci.Digest]int64) {
	i.reach(ctx, blob{d.Digest, d.Size}, reached, true)
}

func (i *Images) reach(ctx context.Context, m blob, reached map[oci.Digest]int64, top bool) {
	i.addReached(m, reached)
	if record, have := i.opts.Cache.Blob(m.digest); !have || record.MediaType == "" {
		return // not cached, or never pulled as a manifest
	}
	named, err := i.contentsOf(ctx, m.digest)
	if err != nil {
		return
	}
	for _, child := range named.children {
		if top {
			i.reach(ctx, child.blob, reached, false)
		}
	}
	if named.config.digest != "" {
		i.addReached(named.config, reached)
	}
	for _, layer := range named.layers {
		i.addReached(layer, reached)
	}
}

func (i *Images) addReached(b blob, reached map[oci.Digest]int64) {
	if record, have := i.opts.Cache.Blob(b.digest); have {
		b.size = record.Size
	}
	reached[b.digest] = b.size
}

// Served returns what is served of a tag: the previous manifest while the latest is not
// cached.
func (i *Images) Served(k tags.Known) oci.Digest { return i.served(k) }

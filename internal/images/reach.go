package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Reach adds to reached what the manifest d needs, with its size in bytes: d, the manifests
// that it names, at any depth, and the configs and layers of those that are cached. The size
// of what is not cached is the one that its descriptor says. It fails when one that is cached
// cannot be read, so that more may be needed.
func (i *Images) Reach(ctx context.Context, d oci.Descriptor, reached map[oci.Digest]int64) error {
	found := map[oci.Digest]bool{d.Digest: true} // indexes may name the same ones over and over
	for queue := []blob{{d.Digest, d.Size}}; len(queue) > 0; queue = queue[1:] {
		named, err := i.reach(ctx, queue[0], reached)
		if err != nil {
			return err
		}
		for _, child := range named.children {
			if !found[child.digest] {
				found[child.digest] = true
				queue = append(queue, child.blob)
			}
		}
	}
	return nil
}

// reach adds m, and its config and layers if it is cached. It returns what m names.
func (i *Images) reach(ctx context.Context, m blob, reached map[oci.Digest]int64) (contents, error) {
	i.addReached(m, reached)
	if record, have := i.opts.Cache.Blob(m.digest); !have || record.MediaType == "" {
		return contents{}, nil // not cached, or never pulled as a manifest
	}
	named, err := i.contentsOf(ctx, m.digest)
	var at *fs.PathError
	if errors.As(err, &at) && !errors.Is(err, fs.ErrNotExist) {
		return contents{}, fmt.Errorf("manifest %s cannot be read: %w", m.digest, at)
	}
	if named.config.digest != "" {
		i.addReached(named.config, reached)
	}
	for _, layer := range named.layers {
		i.addReached(layer, reached)
	}
	return named, nil
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

package images

import (
	"context"

	"mirrord/internal/oci"
)

// Layer returns a layer of at least so many bytes of the image that a tag is served as, by
// manifests that are cached; false if there is none. The layer itself may not be cached.
func (i *Images) Layer(ctx context.Context, tag oci.Ref, least int64) (oci.Ref, bool) {
	known, ok := i.opts.Tags.Known(tag)
	if !ok {
		return oci.Ref{}, false
	}
	named, err := i.contentsOf(ctx, i.served(known))
	if err != nil {
		return oci.Ref{}, false
	}
	layers := named.layers
	for _, c := range named.children {
		child, _ := i.contentsOf(ctx, c.digest) // without layers if it is not cached
		layers = append(layers, child.layers...)
	}
	for _, l := range layers {
		if l.size >= least {
			blob, err := oci.ParseBlob(tag.Upstream(), tag.Repository(), l.digest.String())
			return blob, err == nil
		}
	}
	return oci.Ref{}, false
}

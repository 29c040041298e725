package images

import (
	"context"

	lru "github.com/hashicorp/golang-lru/v2"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/route"
	"mirrord/internal/tags"
)

// Options of Images. All are required.
type Options struct {
	Tags   Tags
	Cache  Cache
	Routes func() route.Table // now
}

// Tags are the tags that the mirror knows; see tags.Registry.
type Tags interface {
	Known(ref oci.Ref) (tags.Known, bool)
	All() []tags.Known
}

// Cache is what is cached; see cache.Cache.
type Cache interface {
	Blob(d oci.Digest) (cache.BlobRecord, bool)
	Peek(ctx context.Context, d oci.Digest, limit int64) ([]byte, error)
}

// maxParsed is how many manifests are remembered as read: a few kilobytes each.
const maxParsed = 4096

// Images answers what of which image is cached. It asks no upstream, and its questions
// count as no use of what they are about. Its methods may be called concurrently.
type Images struct {
	opts   Options
	parsed *lru.Cache[oci.Digest, contents]
	Seen   *Seen // what was requested
}

// New returns the Images of a mirror.
func New(o Options) *Images {
	parsed, err := lru.New[oci.Digest, contents](maxParsed)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Images{opts: o, parsed: parsed, Seen: newSeen()}
}

// Parse is the function of that name, with the mirror's upstreams.
func (i *Images) Parse(name string) (oci.Ref, error) { return Parse(name, i.opts.Routes()) }

// ParsePattern is the function of that name, with the mirror's upstreams.
func (i *Images) ParsePattern(text string) (Pattern, error) {
	return ParsePattern(text, i.opts.Routes())
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mirrord/internal/cache"
	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/route"
	"mirrord/internal/tags"
)

// Mirror is a running mirror. Its methods may be called concurrently.
type Mirror struct {
	Cache  *cache.Cache
	Tags   *tags.Registry
	Routes func() route.Table // now
}

// Parse returns the image that a name means to this mirror.
func (m *Mirror) Parse(name string) (oci.Ref, error) { return images.Parse(name, m.Routes()) }

// Plan finds out what an archive of images consists of: of each that a name or a pattern
// means. With fetch what is missing is fetched, as for a client.
func (m *Mirror) Plan(ctx context.Context, names, platforms []string, fetch bool) (*Plan, error) {
	var all []Image
	for _, name := range names {
		found, err := m.find(ctx, name, fetch)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b Image) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	all = slices.CompactFunc(all, func(a, b Image) bool { return a.Ref == b.Ref })
	o := PlanOptions{Platforms: platforms}
	if fetch {
		o.Fetch = m.Cache.Fetch
	}
	return NewPlan(ctx, m.Cache, all, o)
}

// find returns the images that a name or a pattern means. Those of a pattern are cached.
func (m *Mirror) find(ctx context.Context, name string, fetch bool) ([]Image, error) {
	if !strings.ContainsAny(name, "*?[{") {
		ref, err := m.Parse(name)
		if err != nil {
			return nil, err
		}
		image, err := m.image(ctx, ref, fetch)
		return []Image{image}, err
	}
	pattern, err := images.ParsePattern(name, m.Routes())
	if err != nil {
		return nil, err
	}
	var found []Image
	for _, known := range m.Tags.All() {
		if image, ok := m.cached(known.Record); ok && pattern.Match(known.Ref) {
			found = append(found, image)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no cached image matches %s", pattern)
	}
	return found, nil
}

// cached returns what is cached of a tag: what it names, or what it named before.
func (m *Mirror) cached(known tags.Record) (Image, bool) {
	if known.Refused != "" {
		return Image{}, false
	}
	if d, ok := m.Cache.Cached(known.Ref.At(known.Latest.Digest)); ok {
		return Image{known.Ref, d, known.Checked}, true
	}
	if known.Previous.Digest == "" {
		return Image{}, false
	}
	d, ok := m.Cache.Cached(known.Ref.At(known.Previous.Digest))
	return Image{known.Ref, d, known.Confirmed}, ok
}

// image returns one image, and fetches its manifest before if it may.
func (m *Mirror) image(ctx context.Context, ref oci.Ref, fetch bool) (Image, error) {
	if fetch {
		if err := m.pull(ctx, ref); err != nil {
			return Image{}, err
		}
	}
	if ref.ByDigest() {
		if d, ok := m.Cache.Cached(ref); ok {
			return Image{Ref: ref, Descriptor: d}, nil
		}
	} else if known, ok := m.Tags.Known(ref); ok {
		if image, ok := m.cached(known.Record); ok {
			return image, nil
		}
	}
	return Image{}, fmt.Errorf("%s is not cached: pull it through this mirror before, or let this fetch it with --fetch", ref)
}

// pull fetches a manifest as for a client, and waits until it is cached.
func (m *Mirror) pull(ctx context.Context, ref oci.Ref) error {
	content, err := m.Tags.Open(ctx, ref)
	if err != nil {
		return err
	}
	d := content.Digest
	_, err = io.Copy(io.Discard, content.Body)
	if err := errors.Join(err, content.Close()); err != nil {
		return err
	}
	return m.Cache.Fetch(ctx, ref.At(d))
}

// Import reads an archive, see Import.
func (m *Mirror) Import(ctx context.Context, source io.Reader, o ImportOptions) (Summary, error) {
	o.Parse = m.Parse
	return Import(ctx, source, m.Cache, m.Tags, o)
}

// ImportDirectory reads the directory of a registry, see ImportDirectory.
func (m *Mirror) ImportDirectory(ctx context.Context, dir, upstream string, o ImportOptions) (Summary, error) {
	if !m.Routes().Known(upstream) {
		return Summary{}, fmt.Errorf("this mirror has no upstream %q: name one of its upstreams with --from, whose images the directory has", upstream)
	}
	o.Parse = m.Parse
	return ImportDirectory(ctx, dir, upstream, m.Cache, m.Tags, o)
}

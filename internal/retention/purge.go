package retention

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Purged is what a purge or a collection removes, or would remove.
type Purged struct {
	Tags  []oci.Ref // sorted
	Blobs int       // manifests, configs and layers
	Bytes int64     // of them
	InUse int       // blobs that stay because they are being read; 0 for what would be removed
}

// Purge forgets the tags that match and removes the manifests that they name, and what of
// their blobs nothing else that is cached needs; with dryRun it only says what that is. A
// pattern with a digest matches that manifest, too, if it is cached, and the tags that name
// it. It fails with ErrNoMatch or ErrPinned and has changed nothing then, or when ctx ends,
// in the middle.
func (r *Retention) Purge(ctx context.Context, patterns []Pattern, dryRun bool) (Purged, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return Purged{}, err
	}
	defer unlock()
	known := r.opts.Tags.All()
	purged, drop, err := r.matched(ctx, known, patterns)
	if err != nil {
		return Purged{}, err
	}
	going := make(map[oci.Ref]bool)
	for _, ref := range purged.Tags {
		going[ref] = true
	}
	needed := r.pinned(ctx)
	for _, k := range known {
		if !going[k.Ref] {
			r.addTag(ctx, k, needed)
		}
	}
	for _, record := range r.opts.Cache.Records() {
		if _, ok := drop[record.Digest]; !ok && record.MediaType != "" {
			r.opts.Images.Reach(ctx, record.Descriptor, needed)
		}
	}
	if ctx.Err() != nil {
		return Purged{}, context.Cause(ctx)
	}
	maps.DeleteFunc(drop, func(d oci.Digest, _ int64) bool { _, ok := needed[d]; return ok })
	if !dryRun {
		r.opts.Tags.Forget(purged.Tags...) // first: a tag of what is removed would be served no longer
	}
	return r.remove(ctx, purged, slices.Collect(maps.Keys(drop)), dryRun)
}

// matched returns the tags that match and what they need.
func (r *Retention) matched(ctx context.Context, known []tags.Known, patterns []Pattern) (Purged, map[oci.Digest]int64, error) {
	found := make(map[oci.Ref]bool)
	drop := make(map[oci.Digest]int64)
	for _, p := range patterns {
		matched := false
		if d := p.Digest(); d != "" {
			if record, have := r.opts.Cache.Blob(d); have && record.MediaType != "" {
				matched = true
				r.opts.Images.Reach(ctx, record.Descriptor, drop)
			}
		}
		for _, k := range known {
			if p.Match(k.Ref) || p.Match(k.Ref.At(k.Latest.Digest)) {
				matched, found[k.Ref] = true, true
				r.addTag(ctx, k, drop)
			}
		}
		if !matched {
			return Purged{}, nil, fmt.Errorf("%w %s; mirrord ls lists what the mirror knows", ErrNoMatch, p)
		}
		for _, pin := range r.Pins() {
			if p.Match(pin.Ref) || found[pin.Ref] {
				return Purged{}, nil, fmt.Errorf("%s is %w, and nothing is removed; unpin it first, with mirrord unpin %[1]s", pin.Ref, ErrPinned)
			}
		}
	}
	return Purged{Tags: sorted(found)}, drop, nil
}

// addTag adds what a tag needs, the previous copy included.
func (r *Retention) addTag(ctx context.Context, k tags.Known, reached map[oci.Digest]int64) {
	for _, named := range []oci.Descriptor{k.Latest, k.Previous} {
		if named.Digest != "" {
			r.opts.Images.Reach(ctx, named, reached)
		}
	}
}

// pinned returns what is pinned, in effect or not.
func (r *Retention) pinned(ctx context.Context) map[oci.Digest]int64 {
	all := make(map[oci.Digest]int64)
	for _, s := range r.Pins() {
		maps.Copy(all, r.reach(ctx, &s))
	}
	return all
}

// remove removes what is cached of ds, or with dryRun counts it.
func (r *Retention) remove(ctx context.Context, purged Purged, ds []oci.Digest, dryRun bool) (Purged, error) {
	if !dryRun {
		removed, err := r.opts.Cache.Remove(ctx, ds...)
		purged.Blobs, purged.Bytes, purged.InUse = removed.Blobs, removed.Bytes, removed.InUse
		return purged, err
	}
	for _, d := range ds {
		if record, have := r.opts.Cache.Blob(d); have {
			purged.Blobs++
			purged.Bytes = sum(purged.Bytes, record.Size)
		}
	}
	return purged, nil
}

// Collected is what Collect has done.
type Collected struct {
	Purged              // content that nothing needs
	Tidied cache.Tidied // zero for a dry run
}

// Collect does now what the mirror does in the background, and removes what neither a tag
// nor a pin needs and nobody has used for that long. A tag needs what it named before only
// while what it names is not cached. With dryRun it only says what that is, and leaves the
// rest alone. It fails when ctx ends or the directory cannot be read.
func (r *Retention) Collect(ctx context.Context, unused time.Duration, dryRun bool) (c Collected, err error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return c, err
	}
	defer unlock()
	if !dryRun {
		if c.Tidied, err = r.opts.Cache.Tidy(ctx); err != nil {
			return c, err
		}
	}
	needed := r.pinned(ctx)
	for _, k := range r.opts.Tags.All() {
		r.opts.Images.Reach(ctx, k.Latest, needed)
		r.opts.Images.Reach(ctx, oci.Descriptor{Digest: r.opts.Images.Served(k)}, needed)
	}
	limit := time.Now().Add(-unused)
	records := r.opts.Cache.Records()
	for _, record := range records {
		if record.MediaType != "" && record.Used.After(limit) { // pulled by digest
			r.opts.Images.Reach(ctx, record.Descriptor, needed)
		}
	}
	if ctx.Err() != nil {
		return c, context.Cause(ctx)
	}
	var old []oci.Digest
	for _, record := range records {
		if _, ok := needed[record.Digest]; !ok && !record.Used.After(limit) {
			old = append(old, record.Digest)
		}
	}
	c.Purged, err = r.remove(ctx, Purged{}, old, dryRun)
	return c, err
}

// sum adds sizes, some of which upstreams say.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

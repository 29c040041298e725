package retention

import (
	"cmp"
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
	InUse int       // blobs that stay because they are being read, or were used meanwhile; 0 for what would be removed
}

// Purge forgets the tags that match and removes the manifests that they name, and what of
// their blobs nothing else that is cached needs; with dryRun it only says what that is. A
// pattern with a digest matches that manifest, too, if it is cached, and the tags that name
// it. It fails with ErrNoMatch or ErrPinned, or because a manifest cannot be read, and has
// changed nothing then, or when ctx ends, in the middle.
func (r *Retention) Purge(ctx context.Context, patterns []Pattern, dryRun bool) (Purged, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return Purged{}, err
	}
	defer unlock()
	begun, known := time.Now(), r.opts.Tags.All()
	purged, drop, err := r.matched(ctx, known, patterns)
	if err != nil {
		return Purged{}, err
	}
	going := make(map[oci.Ref]bool)
	for _, ref := range purged.Tags {
		going[ref] = true
	}
	needed, err := r.pinned(ctx)
	for _, k := range known {
		if !going[k.Ref] {
			err = cmp.Or(err, r.addTag(ctx, k, needed))
		}
	}
	for _, record := range r.opts.Cache.Records() {
		if _, ok := drop[record.Digest]; !ok && record.MediaType != "" {
			err = cmp.Or(err, r.opts.Images.Reach(ctx, record.Descriptor, needed))
		}
	}
	if err := unread(ctx, err); err != nil {
		return Purged{}, err
	}
	maps.DeleteFunc(drop, func(d oci.Digest, _ int64) bool { _, ok := needed[d]; return ok })
	if !dryRun {
		r.opts.Tags.Forget(purged.Tags...) // first: a tag of what is removed would be served no longer
	}
	return r.remove(ctx, purged, begun, slices.Collect(maps.Keys(drop)), dryRun)
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
				if err := r.opts.Images.Reach(ctx, record.Descriptor, drop); err != nil {
					return Purged{}, nil, unread(ctx, err)
				}
			}
		}
		for _, k := range known {
			if p.Match(k.Ref) || p.Match(k.Ref.At(k.Latest.Digest)) {
				matched, found[k.Ref] = true, true
				if err := r.addTag(ctx, k, drop); err != nil {
					return Purged{}, nil, unread(ctx, err)
				}
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
func (r *Retention) addTag(ctx context.Context, k tags.Known, reached map[oci.Digest]int64) (err error) {
	for _, named := range []oci.Descriptor{k.Latest, k.Previous} {
		if named.Digest != "" {
			err = cmp.Or(err, r.opts.Images.Reach(ctx, named, reached))
		}
	}
	return err
}

// unread returns why it is not known what is needed, so that nothing may be removed: ctx
// has ended, or a manifest could not be read because of err. Else it returns nil.
func unread(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("nothing is removed, because it is not known what is needed: %w; repair the disk, and try again", err)
	}
	return err
}

// pinned returns what is pinned, in effect or not.
func (r *Retention) pinned(ctx context.Context) (all map[oci.Digest]int64, err error) {
	all = make(map[oci.Digest]int64)
	for _, s := range r.Pins() {
		own, failed := r.reach(ctx, &s)
		maps.Copy(all, own)
		err = cmp.Or(err, failed)
	}
	return all, err
}

// remove removes what is cached of ds and was not used after the moment used, or with
// dryRun counts it, and adds that to purged.
func (r *Retention) remove(ctx context.Context, purged Purged, used time.Time, ds []oci.Digest, dryRun bool) (Purged, error) {
	if !dryRun {
		removed, err := r.opts.Cache.Remove(ctx, used, ds...)
		purged.Blobs += removed.Blobs
		purged.Bytes = sum(purged.Bytes, removed.Bytes)
		purged.InUse += removed.InUse
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
// rest alone. It fails when ctx ends, or the directory or a manifest cannot be read.
// Progress is told what was done until then, now and then.
func (r *Retention) Collect(ctx context.Context, unused time.Duration, dryRun bool, progress func(Collected)) (c Collected, err error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return c, err
	}
	defer unlock()
	if !dryRun {
		if c.Tidied, err = r.opts.Cache.Tidy(ctx); err != nil {
			return c, err
		}
		progress(c)
	}
	needed, err := r.pinned(ctx)
	for _, k := range r.opts.Tags.All() {
		err = cmp.Or(err, r.opts.Images.Reach(ctx, k.Latest, needed), r.opts.Images.Reach(ctx, oci.Descriptor{Digest: r.opts.Images.Served(k)}, needed))
	}
	limit := time.Now().Add(-unused)
	records := r.opts.Cache.Records()
	for _, record := range records {
		if record.MediaType != "" && record.Used.After(limit) { // pulled by digest
			err = cmp.Or(err, r.opts.Images.Reach(ctx, record.Descriptor, needed))
		}
	}
	if err := unread(ctx, err); err != nil {
		return c, err
	}
	var old []oci.Digest
	for _, record := range records {
		if _, ok := needed[record.Digest]; !ok && !record.Used.After(limit) {
			old = append(old, record.Digest)
		}
	}
	for some := range slices.Chunk(old, progressBlobs) {
		if c.Purged, err = r.remove(ctx, c.Purged, limit, some, dryRun); err != nil {
			return c, err
		}
		progress(c)
	}
	return c, nil
}

const progressBlobs = 1000 // that are removed between two reports of progress

// sum adds sizes, some of which upstreams say.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

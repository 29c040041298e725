package warm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/oci"
)

// Plan is what a Job would fetch.
type Plan struct {
	Images  int            `json:"images"`
	Cached  int            `json:"cached"` // whole
	Failed  int            `json:"failed"` // that cannot be planned
	Pulls   map[string]int `json:"pulls"`  // by upstream: manifest GETs, at the least
	Bytes   int64          `json:"bytes"`  // of blobs, at the least: those of a manifest that is not cached are not known
	Entries []Entry        `json:"entries"`
}

// Entry is the plan of one image.
type Entry struct {
	Image  string `json:"image"`
	Pulls  int    `json:"pulls"`
	Bytes  int64  `json:"bytes"`
	Cached bool   `json:"cached"`
	Error  string `json:"error,omitempty"`

	ref       oci.Ref
	manifests []oci.Ref // of it, by digest, that are cached; some may be in memory only
	missing   int       // blobs that these name and that are not cached
}

// TotalPulls is the sum of all upstreams.
func (p *Plan) TotalPulls() (n int) {
	for _, pulls := range p.Pulls {
		n += pulls
	}
	return n
}

// Plan finds out what j would fetch, without fetching it: by HEAD, and what is cached. It
// fails when j is invalid, the mirror is offline, or ctx ends.
func (w *Warmer) Plan(ctx context.Context, j Job) (*Plan, error) {
	want, err := j.check()
	if err != nil {
		return nil, err
	}
	if w.opts.Offline() {
		return nil, oci.ErrOffline
	}
	return w.plan(oci.WithBackground(ctx), j, want)
}

func (w *Warmer) plan(ctx context.Context, j Job, want wanted) (*Plan, error) {
	p := &Plan{Pulls: make(map[string]int)}
	for _, image := range j.Images {
		p.Entries = append(p.Entries, w.expand(ctx, image)...)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(p.Entries) > maxImages {
		return nil, fmt.Errorf("the list selects %d images; select %d at most", len(p.Entries), maxImages)
	}
	var group errgroup.Group
	group.SetLimit(imagesAtOnce)
	var mu sync.Mutex // guards p
	for i := range p.Entries {
		e := &p.Entries[i]
		group.Go(func() error {
			if e.Error == "" {
				w.planEntry(ctx, e, want)
			}
			mu.Lock()
			defer mu.Unlock()
			p.count(e)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, context.Cause(ctx)
	}
	return p, nil
}

func (p *Plan) count(e *Entry) {
	p.Images++
	p.Bytes += e.Bytes
	switch {
	case e.Error != "":
		p.Failed++
	case e.Cached:
		p.Cached++
	case e.Pulls > 0:
		p.Pulls[e.ref.Upstream()] += e.Pulls
	}
}

// planEntry fills in what fetching e would cost.
func (w *Warmer) planEntry(ctx context.Context, e *Entry, want wanted) {
	top, index, err := w.resolve(ctx, e.ref)
	switch {
	case errors.Is(err, oci.ErrNeedsGet):
		e.Pulls = 1
		return
	case err == nil:
		err = w.cost(ctx, e, top, index, want, make(visited))
	}
	if err != nil {
		e.Error = err.Error()
	}
	e.Cached = err == nil && e.Pulls == 0 && e.missing == 0
}

// resolve returns what ref names now, by digest, and whether that is said to be an index.
func (w *Warmer) resolve(ctx context.Context, ref oci.Ref) (top oci.Ref, index bool, err error) {
	if ref.ByDigest() {
		return ref, false, nil
	}
	result, err := w.opts.Cache.Resolve(ctx, ref)
	if err != nil {
		return oci.Ref{}, false, err
	}
	return ref.At(result.Digest), result.MediaType == ocispec.MediaTypeImageIndex || result.MediaType == oci.DockerManifestList, nil
}

// cost adds to e what is missing of ref, by digest.
func (w *Warmer) cost(ctx context.Context, e *Entry, ref oci.Ref, index bool, want wanted, seen visited) error {
	m, cached, err := w.cached(ctx, ref)
	if err != nil {
		return err
	}
	if !cached {
		e.Pulls++
		if index {
			e.Pulls += want.atLeast()
		}
		return nil
	}
	e.manifests = append(e.manifests, ref)
	children, err := m.children(ref, want, seen)
	if err != nil {
		return fmt.Errorf("%s %w", e.Image, err)
	}
	for _, child := range children {
		if err := w.cost(ctx, e, child, false, want, seen); err != nil {
			return err
		}
	}
	missing, err := w.missing(ref, m)
	e.missing += len(missing)
	for _, b := range missing {
		e.Bytes += b.size
	}
	return err
}

// expand returns the entries of one image, or those of the tags that it selects.
func (w *Warmer) expand(ctx context.Context, image Image) []Entry {
	ref, err := w.opts.Parse(image.Name)
	selects, wrong := image.selection()
	err = cmp.Or(err, wrong)
	if err == nil && selects == nil {
		return []Entry{{Image: ref.String(), ref: ref}}
	}
	var all []string
	if err == nil {
		all, err = w.tags(ctx, ref)
	}
	if err != nil {
		return []Entry{{Image: image.Name, Error: err.Error()}}
	}
	var entries []Entry
	for _, tag := range all {
		if !selects(tag) {
			continue
		}
		if ref, err := oci.ParseManifest(ref.Upstream(), ref.Repository(), tag); err == nil {
			entries = append(entries, Entry{Image: ref.String(), ref: ref})
		}
	}
	if len(entries) == 0 {
		return []Entry{{Image: image.Name, Error: fmt.Sprintf("none of its tags (%d) matches %q", len(all), image.Tags+image.Versions)}}
	}
	return entries
}

// tags returns the tags of the repository of ref.
func (w *Warmer) tags(ctx context.Context, ref oci.Ref) ([]string, error) {
	const pages = 100
	var all []string
	query := "n=1000"
	for range pages {
		q, err := oci.ParseTags(ref.Upstream(), ref.Repository(), query)
		if err != nil {
			return nil, err
		}
		page, err := w.opts.Cache.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, tag := range page.Tags {
			if len(all) < pages*1000 && !oci.IsReferrersTag(tag) {
				all = append(all, strings.Clone(tag))
			}
		}
		if query = page.Next; query == "" {
			return all, nil
		}
	}
	return all, nil
}

// Package tags is a Registry for what names change: tags, lists of tags, and lists
// of referrers. It serves a name while it is fresh, asks the upstream when it is
// not, and serves the stale copy when the upstream does not answer. Content by
// digest is the business of the cache below.
package tags

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mirrord/internal/cache/lru"
	"mirrord/internal/call"
	"mirrord/internal/health"
	"mirrord/internal/negative"
	"mirrord/internal/oci"
)

// Options of a Registry. Fresh, Shared, Quota and Hooks may be nil.
type Options struct {
	Next   Cache
	Index  Index
	Health *health.Monitor

	Fresh  func(oci.Ref) time.Duration // how long a tag is served without asking; nil or 0: ask every time
	Shared func(oci.Ref) bool          // whether other mirrors share what a tag names; nil: there are none
	Limits Limits
	Quota  Quota // nil: pulls are free

	Hooks Hooks
}

// Limits say when the upstream is asked. SetLimits changes them.
type Limits struct {
	FreshLists time.Duration // how long a list is served without asking; 0: ask every time
	Revalidate time.Duration // how long after it was fresh a tag is served while the upstream is asked; 0: never
	MaxStale   time.Duration // how long after it was confirmed a stale copy may be served; 0: never
	MaxSilence time.Duration // of the upstream, after which a stale copy is served; 0: any
}

// Hooks report what no call returns. Each may be nil, is called without a lock
// held and must not block for long.
type Hooks struct {
	Stale       func(ref oci.Ref, err error) // a tag could not be checked; the stale copy is served
	IndexFailed func(err error)              // a record could not be read or written

	// Moved reports that the upstream says ref, which named previous, names now. Nobody
	// waits for it.
	Moved func(ref oci.Ref, previous, now oci.Digest)
}

// Registry answers for tags and lists. New makes one; Run works for it.
type Registry struct {
	next   Cache
	opts   Options
	runner *call.Runner
	checks *call.Group[oci.Ref, oci.Result]    // HEADs in flight
	pages  *call.Group[oci.Listing, *oci.Page] // lists in flight

	limits  atomic.Pointer[Limits]
	missing *negative.Cache
	index   *recorder

	seed maphash.Seed // of when shared tags are renewed

	// mu guards all below. No I/O, hook or index call happens under it. It is taken
	// before the locks of the cache and of the groups.
	mu    sync.Mutex
	tags  map[oci.Ref]*tag
	lists *lru.Bytes[*list] // by Listing
	stats Stats
}

// New returns a Registry that knows the tags of the index. It starts nothing:
// call Run.
func New(o Options) *Registry {
	runner := call.NewRunner()
	r := &Registry{
		next:    o.Next,
		opts:    o,
		runner:  runner,
		checks:  call.NewGroup[oci.Ref, oci.Result](runner),
		pages:   call.NewGroup[oci.Listing, *oci.Page](runner),
		missing: negative.New(),
		seed:    maphash.MakeSeed(),
		tags:    make(map[oci.Ref]*tag),
		lists:   lru.NewBytes[*list](listMemory),
		stats:   newStats(),
	}
	r.limits.Store(&o.Limits)
	r.index = newRecorder(r)
	r.index.load()
	o.Health.OnRetry(health.Index, r.index.catchUp)
	return r
}

// SetLimits changes the limits, and asks Options.Fresh again how long each tag is fresh.
func (r *Registry) SetLimits(l Limits) {
	r.limits.Store(&l)
	r.mu.Lock()
	refs := slices.Collect(maps.Keys(r.tags))
	r.mu.Unlock()
	for _, ref := range refs {
		fresh := r.freshness(ref)
		r.mu.Lock()
		if t := r.tags[ref]; t != nil {
			t.fresh = fresh
		}
		r.mu.Unlock()
	}
}

const dropEvery = 30 * time.Second

// Run forgets tags that are too old to be served, until ctx ends. Then it ends the
// checks in flight and waits for them. Run once.
func (r *Registry) Run(ctx context.Context) error {
	defer func() {
		r.runner.Stop()
		r.runner.Wait()
	}()
	ticker := time.NewTicker(dropEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.dropOld()
		}
	}
}

// dropOld forgets the tags that the upstream has not confirmed for so long that
// they are not served any more.
func (r *Registry) dropOld() {
	now := time.Now()
	var old []oci.Ref
	r.mu.Lock()
	for ref, t := range r.tags {
		if now.Sub(t.lastResponse()) > max(r.limits.Load().MaxStale, t.fresh) {
			delete(r.tags, ref)
			old = append(old, ref)
		}
	}
	r.mu.Unlock()
	if len(old) > 0 {
		r.index.save(old...)
	}
}

// Resolve returns what Open would serve. It moves content only where the upstream
// describes a manifest in response to GET alone, and where a tag has moved away
// from what is cached; then it caches that.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if ref.ByDigest() {
		return r.next.Resolve(ctx, ref)
	}
	result, err := r.head(ctx, ref)
	if ref.Kind() == oci.Manifest && (errors.Is(err, oci.ErrNeedsGet) || err == nil && !result.Complete()) {
		result, err = r.describeByGet(ctx, ref, result)
	}
	if err == nil {
		r.countStale(result.Via, result.Reason)
	}
	return result, err
}

// Open opens what ref names now, or the stale copy when that cannot be known or
// fetched.
func (r *Registry) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref.ByDigest() {
		return r.next.Open(ctx, ref)
	}
	result, err := r.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	content, err := r.openResult(ctx, ref, result)
	if err != nil {
		return nil, err
	}
	r.countStale(content.Via, content.Reason)
	return content, nil
}

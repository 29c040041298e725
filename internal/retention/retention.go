// Package retention changes by hand what stays cached: it pins images, purges them, and
// removes what no image needs. What eviction does by itself is the business of the cache.
package retention

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Options of a Retention. Hooks may be nil.
type Options struct {
	Images Images
	Tags   Tags
	Cache  Cache
	Index  Index
	Max    int64 // bytes that may be pinned; SetMax changes it

	// Hooks report what no call returns. They must not block for long.
	TooLarge    func(ref oci.Ref, short int64) // a pinned image has grown, and is not pinned until it needs so many bytes less
	IndexFailed func(err error)                // pins could not be read or written
}

// Images are the images of the mirror; see images.Images.
type Images interface {
	Reach(ctx context.Context, d oci.Descriptor, reached map[oci.Digest]int64) error
	Served(k tags.Known) oci.Digest
}

// Tags are the tags that the mirror knows; see tags.Registry.
type Tags interface {
	All() []tags.Known
	Known(ref oci.Ref) (tags.Known, bool)
	Forget(refs ...oci.Ref)
}

// Cache is what is cached; see cache.Cache.
type Cache interface {
	Blob(d oci.Digest) (cache.BlobRecord, bool)
	Records() []cache.BlobRecord
	Remove(ctx context.Context, used time.Time, ds ...oci.Digest) (cache.Removed, error)
	Pin(ds map[oci.Digest]struct{})
	Tidy(ctx context.Context) (cache.Tidied, error)
}

// Index remembers pins across restarts. Its methods may be called concurrently.
type Index interface {
	Pins() iter.Seq2[Pin, error]
	UpdatePins(put []Pin, remove []oci.Ref) error // absent ones are not an error
}

// What a person is refused for. The errors that wrap them say what to do.
var (
	ErrNoMatch  = errors.New("no image matches")
	ErrPinned   = errors.New("pinned")
	ErrTooLarge = errors.New("more than cache.max_pinned allows")
)

// Retention pins and removes images. New makes one; Run works for it. Its methods may be
// called concurrently.
type Retention struct {
	opts Options
	max  atomic.Int64
	turn chan struct{}           // holds one while pins or content are changed, which reads and writes files
	last map[oci.Digest]struct{} // what the cache has as pinned; of who holds turn

	mu   sync.Mutex // guards pins; no I/O happens under it
	pins []PinState // in the order in which they were made
}

// New returns a Retention with the pins that the index has, in effect. It reads the
// manifests of the pinned images.
func New(ctx context.Context, o Options) *Retention {
	r := &Retention{opts: o, turn: make(chan struct{}, 1)}
	r.max.Store(o.Max)
	for pin, err := range o.Index.Pins() {
		if err != nil {
			r.note(err)
			continue
		}
		r.pins = append(r.pins, PinState{Pin: pin})
	}
	r.apply(ctx, r.list())
	return r
}

// lock waits until nobody else changes pins or content. It fails when ctx ends.
func (r *Retention) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case r.turn <- struct{}{}:
		return func() { <-r.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *Retention) note(err error) {
	if err != nil && r.opts.IndexFailed != nil {
		r.opts.IndexFailed(err)
	}
}

// applyEvery is how soon a pin follows its tag, and has what has landed since.
const applyEvery = 10 * time.Second

// Run has pins follow their tags until ctx ends. Run once.
func (r *Retention) Run(ctx context.Context) error {
	ticker := time.NewTicker(applyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.Apply(ctx)
		}
	}
}

// Apply has pins follow their tags now.
func (r *Retention) Apply(ctx context.Context) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if pins := r.list(); len(pins) > 0 {
		r.apply(ctx, pins)
	}
}

// SetMax changes how many bytes may be pinned. Images that are over it are no longer
// pinned at the next Apply, those that were pinned last first.
func (r *Retention) SetMax(max int64) { r.max.Store(max) }

// Max is how many bytes may be pinned.
func (r *Retention) Max() int64 { return r.max.Load() }

// Pattern is a pattern of images; see images.Pattern.
type Pattern = images.Pattern

// Package tag is a Registry by which the mirrors of a fleet tell each other what a tag
// names: who has asked the upstream writes that into the bucket, and the others read it
// instead of asking, as long as it is fresh for them.
//
// An object is written only over the one that was read before the upstream was asked, so
// what is in the bucket never goes back to an older response. It is sealed with the
// fleet's secret, and says itself how old it is.
package tag

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// Margin is how much sooner than what this mirror was told itself what another one was
// told is too old: two mirrors agree about its age to a few seconds.
const Margin = 10 * time.Second

const (
	readTime  = time.Second     // for an object: the upstream can be asked instead
	sendTime  = 5 * time.Second // from the request to the upstream to that which writes its response
	writeTime = 5 * time.Second // for that
	writers   = 4
	maxWaits  = 64 // writes that wait; more are dropped
)

// Options of a Registry.
type Options struct {
	Next   oci.Registry // asks the upstreams
	Bucket bucket.Bucket
	Secret keys.Secret

	// Shares reports whether what ref, a tag, names is for all mirrors: that it is
	// public, and that this mirror is to ask the upstream at all. It must not block.
	Shares func(ref oci.Ref) bool
}

// Registry shares tags, and passes all else on. New makes one; Run works for it. Its
// methods may be called concurrently.
type Registry struct {
	oci.Registry
	opts   Options
	boot   string
	seq    atomic.Int64
	noAges atomic.Bool
	writes chan write

	mu    sync.Mutex // guards the rest
	stats map[Lookup]int64
}

// New returns a Registry. Nothing is sent.
func New(o Options) *Registry {
	return &Registry{Registry: o.Next, opts: o, boot: rand.Text(), writes: make(chan write, maxWaits), stats: make(map[Lookup]int64)}
}

// SetAges says whether the object store tells how old objects are. Until it is called it
// does; while it does not, no tag is shared.
func (r *Registry) SetAges(told bool) { r.noAges.Store(!told) }

// Shared reports whether this mirror and others tell each other what ref names. Tags of
// signatures and the like are not among that: a client that is told wrongly that there are
// none looks no further.
func (r *Registry) Shared(ref oci.Ref) bool {
	return !ref.ByDigest() && !oci.IsReferrersTag(ref.Tag()) && !r.noAges.Load() && r.opts.Shares(ref)
}

// Resolve returns what the upstream told another mirror that ref, a tag, names, with Via
// Shared, if that is enough for the caller (see oci.WithMaxAge). Else it asks the upstream,
// and tells the others in the background.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if !r.Shared(ref) {
		return r.opts.Next.Resolve(ctx, ref)
	}
	found, err := r.read(ctx, ref)
	if ctx.Err() != nil {
		return oci.Result{}, context.Cause(ctx)
	}
	if most := oci.MaxAge(ctx); most > 0 {
		fresh := err == nil && found.age < most-Margin
		r.count(lookup(err, fresh))
		if fresh {
			return found.result(), nil
		}
	}
	return r.ask(ctx, ref, found.cond, err)
}

// ask asks the upstream, and has its response written unless what was read for ref, with
// err, is not to be replaced.
func (r *Registry) ask(ctx context.Context, ref oci.Ref, cond bucket.Cond, err error) (oci.Result, error) {
	replaceable := err == nil || errors.Is(err, bucket.ErrAbsent) || errors.Is(err, keys.ErrForeign)
	asked := time.Now()
	confirmed, told := r.opts.Bucket.Now()
	result, err := r.opts.Next.Resolve(ctx, ref)
	if err == nil && result.Via != oci.Stale && replaceable && told {
		r.write(write{ref: ref, named: result.Descriptor, asked: asked, confirmed: confirmed, cond: cond})
	}
	return result, err
}

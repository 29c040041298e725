package tags

import (
	"context"
	"hash/maphash"
	"time"

	"mirrord/internal/oci"
)

// isShared reports whether other mirrors share what ref names. It calls a callback, so
// mu must not be held.
func (r *Registry) isShared(ref oci.Ref) bool { return r.opts.Shared != nil && r.opts.Shared(ref) }

// renewal is when this mirror renews a shared tag that is fresh for that long: in the
// last 30 % of that, each tag and each process at another moment. Whoever is first tells
// the others, which do not ask at once when it is over.
func (r *Registry) renewal(ref oci.Ref, fresh time.Duration) time.Duration {
	const most = 0.3
	early := most * float64(maphash.Comparable(r.seed, ref)) / (1 << 64)
	return fresh - time.Duration(early*float64(fresh))
}

// maxAge is how long ago another mirror may have asked the upstream for ref, so that this
// one need not, for the client behind client: not before the upstream's last response to
// this one. 0 means that this one has to ask.
func (r *Registry) maxAge(client context.Context, ref oci.Ref) time.Duration {
	if oci.NoCache(client) || !r.isShared(ref) {
		return 0
	}
	fresh := r.freshness(ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.missing.Noted(ref)
	if t := r.tags[ref]; t != nil {
		if t.doubted {
			return 0
		}
		last = t.lastResponse()
	}
	return max(0, min(fresh, time.Since(last)))
}

// asKnown returns result, if another mirror was told that, as it is served from then on:
// without asking the upstream.
func (r *Registry) asKnown(ref oci.Ref, result oci.Result) oci.Result {
	if result.Via != oci.Shared {
		return result
	}
	result.Via, result.Checked = oci.Known, time.Time{}
	if _, have := r.next.Available(ref.At(result.Digest)); have {
		result.Via = oci.Hit
	}
	return result
}

// doubt notes that d, which ref names, could not be fetched because of err. When another
// mirror said so, the next request asks the upstream.
func (r *Registry) doubt(ctx context.Context, ref oci.Ref, d oci.Digest, err error) {
	if ctx.Err() != nil || concernsOne(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tags[ref]; t != nil && t.shared && t.Latest.Digest == d {
		t.doubted = true
	}
}

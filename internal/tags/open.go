package tags

import (
	"context"
	"errors"
	"io/fs"

	"mirrord/internal/oci"
)

// head returns what Open would open: clients follow a HEAD with a GET of the
// digest in its response, and fail when that cannot be had. Where the tag has moved
// away from a cached copy only a GET of the new manifest shows whether it can, so
// it is fetched: one pull for each time that the tag moves, which the next GET
// saves. Where there is no stale copy to choose, nothing is fetched.
func (r *Registry) head(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	result, err := r.resolve(ctx, ref)
	if err != nil || result.Via == oci.Stale {
		return result, err
	}
	r.mu.Lock()
	_, have := r.replacement(ref, result.Digest)
	r.mu.Unlock()
	if have {
		return r.describeByGet(ctx, ref, result)
	}
	if at := ref.At(result.Digest); !r.cached(at) {
		if err := r.next.Missing(at); err != nil {
			r.doubt(ctx, ref, at.Digest(), err)
			return oci.Result{}, err
		}
	}
	return result, nil
}

// describeByGet describes what is opened for ref, of which result is known.
func (r *Registry) describeByGet(ctx context.Context, ref oci.Ref, result oci.Result) (oci.Result, error) {
	content, err := r.openResult(ctx, ref, result)
	if err != nil {
		return oci.Result{}, err
	}
	return content.Result, content.Close()
}

// openResult opens what resolve has returned, or the stale copy when that cannot
// be fetched.
func (r *Registry) openResult(ctx context.Context, ref oci.Ref, result oci.Result) (*oci.Content, error) {
	if result.Via == oci.Stale {
		return r.openStale(ctx, ref, result)
	}
	content, err := r.openLatest(ctx, ref, result.Digest)
	if err != nil {
		r.doubt(ctx, ref, result.Digest, err)
	}
	if err != nil && ctx.Err() == nil && (oci.Temporary(err) || oci.IsUnknown(err)) {
		return r.openReplacement(ctx, ref, err)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case content.Via != oci.Hit || result.Via == oci.Known:
	case result.Via == oci.Pass: // it was cached since the upstream was asked
		content.Via = oci.Revalidated
	default:
		content.Via = result.Via
	}
	return content, nil
}

// openLatest opens d, which ref names now. It tolerates MaxSilence when there is a
// stale copy.
func (r *Registry) openLatest(ctx context.Context, ref oci.Ref, d oci.Digest) (*oci.Content, error) {
	r.mu.Lock()
	_, have := r.replacement(ref, d)
	r.mu.Unlock()
	if have {
		ctx = oci.WithoutReserve(ctx)
	}
	return r.next.OpenWithin(ctx, ref.At(d), r.tolerated(have))
}

// openReplacement opens the stale copy of a tag whose latest manifest cannot be
// fetched because of why, and fails with why when there is none. That the upstream
// does not have what it has just named is a failure of the upstream, too: its
// servers disagree.
func (r *Registry) openReplacement(ctx context.Context, ref oci.Ref, why error) (*oci.Content, error) {
	r.mu.Lock()
	stale, have := r.staleCopy(r.tags[ref])
	if have && !r.tags[ref].doubted && !refusedByQuota(why) { // another client's share may not be used up
		r.tags[ref].fail(why, true)
	}
	r.mu.Unlock()
	if !have {
		return nil, why
	}
	stale.Reason = reasonFor(why)
	content, err := r.next.OpenCached(ctx, ref.At(stale.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, why
	}
	if err != nil {
		return nil, err
	}
	content.Result = stale
	return content, nil
}

// openStale opens what result says is served instead of what ref names now. A copy
// that turns out to be damaged is fetched again.
func (r *Registry) openStale(ctx context.Context, ref oci.Ref, result oci.Result) (*oci.Content, error) {
	content, err := r.next.Open(ctx, ref.At(result.Digest))
	if err != nil {
		return nil, err
	}
	if content.Via == oci.Hit {
		content.Result = result
	}
	return content, nil
}

package route

import (
	"context"
	"errors"
	"time"

	"mirrord/internal/oci"
)

// Failover asks its Registries in turn until one responds about the content. The first
// is the registry; the others, its fallbacks, stand in for it while it is unavailable or
// limits the mirror. What a tag names at a fallback may be outdated: such a Result is
// stale, with oci.StaleFallback. Referrers are not asked of a fallback, which may lack
// signatures.
type Failover []oci.Registry

func (f Failover) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	result, byFallback, err := firstResponse(ctx, f, func(r oci.Registry) (oci.Result, error) { return r.Resolve(ctx, ref) })
	if byFallback && !ref.ByDigest() {
		result.Via, result.Reason, result.Checked = oci.Stale, oci.StaleFallback, time.Now()
	}
	return result, err
}

func (f Failover) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if !ref.ByDigest() {
		return f[0].Open(ctx, ref) // Resolve comes first, and needs no more than its digest
	}
	content, _, err := firstResponse(ctx, f, func(r oci.Registry) (*oci.Content, error) { return r.Open(ctx, ref) })
	return content, err
}

func (f Failover) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	if q.Kind() == oci.Referrers {
		return f[0].List(ctx, q)
	}
	page, _, err := firstResponse(ctx, f, func(r oci.Registry) (*oci.Page, error) { return r.List(ctx, q) })
	return page, err
}

// mayFailOver reports whether the registry has said nothing about the content. That a
// HEAD does not describe a manifest is not an outage.
func mayFailOver(err error) bool {
	return oci.Temporary(err) && !errors.Is(err, oci.ErrNeedsGet) && !errors.Is(err, oci.ErrLoop)
}

// firstResponse returns the response of the first Registry, unless that fails with a
// temporary error and another succeeds. A fallback may lack what the registry has, so while
// that is unavailable, "not found" from another is not believed.
func firstResponse[A any](ctx context.Context, f Failover, ask func(oci.Registry) (A, error)) (answer A, byFallback bool, err error) {
	answer, err = ask(f[0])
	if !mayFailOver(err) {
		return answer, false, err
	}
	for _, next := range f[1:] {
		if ctx.Err() != nil {
			break
		}
		if other, failed := ask(next); failed == nil {
			return other, true, nil
		}
	}
	return answer, false, err
}

package route

import (
	"context"

	"mirrord/internal/oci"
)

// Failover asks its Registries in turn until one responds about the content. They
// hold the same content: the first is the registry, the others stand in for it while
// it is unavailable or limits the mirror.
type Failover []oci.Registry

func (f Failover) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	return firstResponse(ctx, f, func(r oci.Registry) (oci.Result, error) { return r.Resolve(ctx, ref) })
}

func (f Failover) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	return firstResponse(ctx, f, func(r oci.Registry) (*oci.Content, error) { return r.Open(ctx, ref) })
}

func (f Failover) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	return firstResponse(ctx, f, func(r oci.Registry) (*oci.Page, error) { return r.List(ctx, q) })
}

// firstResponse returns the response of the first Registry, unless that fails with a
// temporary error and another succeeds. A fallback may lack what the registry has, so while
// that is unavailable, "not found" from another is not believed.
func firstResponse[A any](ctx context.Context, f Failover, ask func(oci.Registry) (A, error)) (A, error) {
	answer, first := ask(f[0])
	if !oci.Temporary(first) {
		return answer, first
	}
	for _, next := range f[1:] {
		if ctx.Err() != nil {
			break
		}
		if other, err := ask(next); err == nil {
			return other, nil
		}
	}
	return answer, first
}

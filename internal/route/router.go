package route

import (
	"context"

	"mirrord/internal/oci"
)

// Router sends each request to the Registry of its upstream, by name.
type Router map[string]oci.Registry

func (r Router) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	next, err := r.next(ref.Upstream())
	if err != nil {
		return oci.Result{}, err
	}
	return next.Resolve(ctx, ref)
}

func (r Router) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	next, err := r.next(ref.Upstream())
	if err != nil {
		return nil, err
	}
	return next.Open(ctx, ref)
}

func (r Router) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	next, err := r.next(q.Upstream())
	if err != nil {
		return nil, err
	}
	return next.List(ctx, q)
}

func (r Router) next(upstream string) (oci.Registry, error) {
	if next, ok := r[upstream]; ok {
		return next, nil
	}
	return nil, oci.Errorf(oci.NameUnknown, "no upstream is named %s", upstream)
}

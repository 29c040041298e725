package stack

import (
	"context"

	"mirrord/internal/cache"
	"mirrord/internal/fleet"
	"mirrord/internal/oci"
)

// joinFleet returns the Registry that asks the bucket before next, and has what next sends
// uploaded once it is stored.
func (s *Stack) joinFleet(next oci.Registry, hooks *cache.Hooks) oci.Registry {
	o := s.options.Fleet
	registry := fleet.New(fleet.Options{Next: next, Bucket: o.Bucket, Hooks: o.Hooks})
	s.Uploads = fleet.NewUploads(fleet.UploadOptions{
		Registry: registry,
		Queue:    o.Queue,
		Open: func(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
			return s.Cache.OpenCached(oci.WithBackground(ctx), ref)
		},
		Public: s.isPublic,
	})
	hooks.Stored = func(ref oci.Ref, via oci.Via) {
		if via != oci.Shared {
			s.Uploads.Add(ref)
		}
	}
	if o.Secret.IsZero() {
		return registry
	}
	return s.shareTags(registry)
}

// isPublic reports whether what was fetched for ref is everybody's.
func (s *Stack) isPublic(ctx context.Context, ref oci.Ref) (bool, error) {
	if s.Membership == nil {
		return !s.loggedIn(), nil
	}
	return s.Membership.IsPublic(ctx, ref)
}

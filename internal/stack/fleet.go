package stack

import (
	"context"
	"errors"
	"io/fs"

	"mirrord/internal/cache"
	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/oci"
)

// FleetWork is how mirrors agree on who fetches what the bucket does not have.
type FleetWork struct {
	Self     lease.Self
	Bucket   bucket.Bucket // for leases alone: a request for one is given up soon, which is no reason to leave content alone
	Siblings *sibling.Client
	Ready    func() bool // the bucket is known to do what leases need
}

// joinFleet returns the Registry that asks the bucket before next, and has what next sends
// uploaded once it is stored.
func (s *Stack) joinFleet(next oci.Registry, hooks *cache.Hooks) oci.Registry {
	o := s.options.Fleet
	options := fleet.Options{Next: next, Bucket: o.Bucket, Hooks: o.Hooks, Public: s.isKnownPublic}
	if o.SharePrivate {
		options.Private = o.Secret
	}
	if w := o.Work; w != nil {
		s.Leases = lease.New(lease.Options{Bucket: w.Bucket, Secret: o.Secret, Self: w.Self})
		options.Work = &fleet.Work{Leases: s.Leases, Siblings: w.Siblings, Ready: func() bool {
			return !s.offline.Load() && w.Ready() // a mirror that is offline could not fetch for the others
		}}
	}
	registry := fleet.New(options)
	s.quota.shared = registry.Has
	s.Uploads = fleet.NewUploads(fleet.UploadOptions{
		Registry: registry,
		Queue:    o.Queue,
		Open: func(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
			return s.Cache.OpenCached(oci.WithBackground(ctx), ref)
		},
		Public: s.isPublic,
	})
	hooks.Stored = s.Uploads.Stored
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

// isKnownPublic reports whether ref is known to be everybody's, without asking.
func (s *Stack) isKnownPublic(ref oci.Ref) bool {
	if s.Membership == nil {
		return !s.loggedIn()
	}
	return s.Membership.KnownPublicContent(ref.Digest()) || s.Membership.KnownPublic(ref.Upstream(), ref.Repository())
}

// OpenForSibling opens public content, by digest, that is cached or in flight, for another
// mirror of the fleet. It starts nothing, and fails as sibling.HandlerOptions.Open says.
func (s *Stack) OpenForSibling(ctx context.Context, d oci.Digest) (*oci.Content, error) {
	content, err := s.openStored(ctx, d)
	if !errors.Is(err, fs.ErrNotExist) {
		return content, err
	}
	content, err = s.Cache.OpenInFlight(ctx, d, s.isKnownPublic)
	if errors.Is(err, fs.ErrNotExist) { // it may have landed meanwhile
		return s.openStored(ctx, d)
	}
	return content, err
}

// openStored opens what is cached, whatever it was fetched as.
func (s *Stack) openStored(ctx context.Context, d oci.Digest) (*oci.Content, error) {
	known := s.Membership == nil && !s.loggedIn() || s.Membership != nil && s.Membership.KnownPublicContent(d)
	if !known {
		return nil, fs.ErrNotExist
	}
	return s.Cache.OpenStored(ctx, d)
}

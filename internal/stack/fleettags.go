package stack

import (
	"mirrord/internal/fleet"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
)

// shareTags returns next with what tags name shared.
func (s *Stack) shareTags(next *fleet.Registry) oci.Registry {
	s.SharedTags = tag.New(tag.Options{
		Next: next, Bucket: s.options.Fleet.Bucket, Secret: s.options.Fleet.Secret,
		Shares: s.sharesTag,
	})
	return s.SharedTags
}

// sharesTag reports whether this mirror and others tell each other what ref names: that of
// a public repository, while the mirror may ask the upstream, and unless it asks for each
// request anyway.
func (s *Stack) sharesTag(ref oci.Ref) bool {
	fresh := s.options.Tags.Fresh
	return !s.offline.Load() && s.options.Fleet.mayShareState() && fresh != nil && fresh(ref) > tag.Margin && s.knownPublic(ref)
}

// knownPublic reports whether the repository of ref is known to be public.
func (s *Stack) knownPublic(ref oci.Ref) bool {
	if s.Membership == nil {
		return !s.loggedIn()
	}
	return s.Membership.KnownPublic(ref.Upstream(), ref.Repository())
}

package stack

import (
	"context"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

// quota decides when a pull is spent: by what the upstream's pool has left and by
// the client's share. A manifest that other mirrors have fetched costs none.
type quota struct {
	pools   map[string]*livePool
	clients atomic.Pointer[ratelimit.Clients]
	shared  func(ctx context.Context, ref oci.Ref) (oci.Descriptor, bool) // what can be had from other mirrors; nil: there are none
}

// Save lets an image that is shared pass. Of a shared index it is not known whether the image
// that the client wants of it is shared, too, and the stale copy is complete.
func (q *quota) Save(ctx context.Context, ref oci.Ref) error {
	err := q.save(ctx, ref.Upstream())
	if err == nil {
		return nil
	}
	if d, ok := q.findShared(ctx, ref); ok && isImage(d.MediaType) {
		return nil
	}
	return err
}

func isImage(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == oci.DockerManifest
}

func (q *quota) save(ctx context.Context, upstream string) error {
	if p, ok := q.pools[upstream]; ok {
		if err := p.Load().CheckReserve(); err != nil {
			return err
		}
	}
	return q.clients.Load().Check(ctx, upstream)
}

func (q *quota) Take(ctx context.Context, ref oci.Ref) (refund func(), err error) {
	clients := q.clients.Load()
	if err := clients.Take(ctx, ref.Upstream()); err != nil {
		if _, ok := q.findShared(ctx, ref); ok {
			return func() {}, nil
		}
		return nil, err
	}
	return func() { clients.Return(ctx) }, nil
}

// findShared asks the other mirrors for ref. It is called only for what would be refused.
func (q *quota) findShared(ctx context.Context, ref oci.Ref) (oci.Descriptor, bool) {
	if q.shared == nil {
		return oci.Descriptor{}, false
	}
	return q.shared(ctx, ref)
}

// CheckReserve returns why no pull of an upstream should be spent on what no client waits
// for, an *oci.LimitError, or nil when it has more than its reserve left.
func (s *Stack) CheckReserve(upstream string) error {
	if p, ok := s.quota.pools[upstream]; ok {
		return p.Load().CheckReserve()
	}
	return nil
}

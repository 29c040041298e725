package tag

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/oci"
)

// write is what is to be written.
type write struct {
	ref       oci.Ref
	named     oci.Descriptor
	asked     time.Time // when the upstream was asked
	confirmed time.Time // the same by the store's clock
	cond      bucket.Cond
}

// write has w written in the background, unless too much waits.
func (r *Registry) write(w write) {
	select {
	case r.writes <- w:
	default:
	}
}

// Run writes until ctx ends. What waits then is lost. Run once.
func (r *Registry) Run(ctx context.Context) error {
	var group errgroup.Group
	for range writers {
		group.Go(func() error {
			for {
				select {
				case w := <-r.writes:
					r.put(ctx, w)
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// put tries once: a mirror that was faster has asked as well, and a later one has nothing
// to replace.
func (r *Registry) put(ctx context.Context, w write) {
	key := r.opts.Secret.Tag(w.ref)
	raw, err := r.opts.Secret.Seal(key, object{
		Digest: w.named.Digest, MediaType: w.named.MediaType, Size: w.named.Size, Confirmed: w.confirmed,
		Boot: r.boot, Seq: r.seq.Add(1),
	})
	if err != nil || !r.Shared(w.ref) || time.Since(w.asked) > sendTime {
		return
	}
	bounded, cancel := context.WithTimeoutCause(ctx, writeTime, bucket.ErrTimeout)
	defer cancel()
	_, _ = r.opts.Bucket.Put(bounded, key, raw, w.cond) // else the next check writes it
}

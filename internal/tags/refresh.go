package tags

import (
	"context"
	"io"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// Refreshed is what Refresh has found.
type Refreshed struct {
	From, To oci.Digest // what the tag was served as before, and names now
	Pulled   bool       // the new manifest was fetched
	Unpulled error      // why it was not, although the tag has moved: an *oci.LimitError; nil: it was, or was cached
}

// Refresh asks the upstream itself what ref, a tag that is known, names, however fresh that is,
// and fetches the manifest if the tag has moved to one that is not cached and the pull is not
// reserved. It fails with an error of the upstream, or when ctx ends. An unknown tag is
// oci.ManifestUnknown. It may be called concurrently.
func (r *Registry) Refresh(ctx context.Context, ref oci.Ref) (Refreshed, error) {
	ctx = oci.WithNoCache(ctx)
	before, ok := r.Known(ref)
	if !ok {
		return Refreshed{}, oci.Errorf(oci.ManifestUnknown, "the mirror does not know %s yet; pull it, or run mirrord warm %[1]s", ref)
	}
	from := before.Latest.Digest
	r.mu.Lock()
	if stale, have := r.replacement(ref, from); have { // it has moved before, and was not fetched
		from = stale.Digest
	}
	check, joined := r.startCheck(ctx, ref)
	r.mu.Unlock()
	result, err := check.Wait(ctx, call.Endless)
	if joined && (concernsOne(err) || err == nil && result.Via == oci.Shared) {
		return r.Refresh(ctx, ref) // the client was the other one
	}
	if err != nil {
		return Refreshed{}, err
	}
	refreshed := Refreshed{From: from, To: result.Digest}
	if refreshed.From == refreshed.To {
		return refreshed, nil
	}
	if r.cached(ref.At(result.Digest)) {
		refreshed.Pulled = result.Via == oci.Fill
		return refreshed, nil
	}
	if r.opts.Quota != nil {
		if err := r.opts.Quota.Save(ctx, ref.At(result.Digest)); err != nil {
			refreshed.Unpulled = err
			return refreshed, nil
		}
	}
	return refreshed.pull(ctx, r, ref)
}

// pull fetches the manifest that ref, a tag, has moved to.
func (f Refreshed) pull(ctx context.Context, r *Registry, ref oci.Ref) (Refreshed, error) {
	content, err := r.next.OpenWithin(oci.WithoutReserve(ctx), ref.At(f.To), call.Endless)
	if refusedByQuota(err) {
		f.Unpulled = err
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.Pulled = true
	_, err = io.Copy(io.Discard, content.Body)
	if closed := content.Close(); err == nil {
		err = closed
	}
	return f, err
}

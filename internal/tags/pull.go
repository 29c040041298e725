package tags

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/oci"
)

// pull asks by GET what ref names, where the response to a HEAD does not say. That
// is a pull: payer, the context of the client that asks, is charged for it, none
// is spent on a newer copy when the quota is better saved, and the manifest is
// cached, so that the GET by digest that follows costs nothing.
func (r *Registry) pull(ctx, payer context.Context, ref oci.Ref) (oci.Result, error) {
	refund, err := r.takePull(payer, ref)
	if err != nil {
		return oci.Result{}, err
	}
	if r.hasStaleCopy(ref) {
		ctx = oci.WithoutReserve(ctx)
	}
	content, err := r.next.Open(ctx, ref)
	if err != nil {
		if !errors.Is(err, oci.ErrUnusable) {
			refund()
		}
		return oci.Result{}, err
	}
	raw, err := readManifest(ref, content)
	if err != nil {
		return oci.Result{}, err
	}
	return r.next.PutManifest(ref.At(content.Digest), content.MediaType, raw), nil
}

// takePull books a pull for the client behind payer and returns what gives it
// back.
func (r *Registry) takePull(payer context.Context, ref oci.Ref) (refund func(), err error) {
	if r.opts.Quota == nil {
		return func() {}, nil
	}
	r.mu.Lock()
	_, have := r.staleCopy(r.tags[ref])
	r.mu.Unlock()
	if have {
		if err := r.opts.Quota.Save(payer, ref); err != nil {
			return nil, err
		}
	}
	return r.opts.Quota.Take(payer, ref)
}

// readManifest reads and verifies the manifest that ref has turned out to name,
// and closes content.
func readManifest(ref oci.Ref, content *oci.Content) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(content.Body, oci.MaxManifestSize+1))
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", ref, err)
	}
	d := content.Digest
	if len(raw) > oci.MaxManifestSize || d.Algorithm().FromBytes(raw) != d {
		return nil, oci.Errorf(oci.Unavailable, "%w: %d bytes for %s of %s", oci.ErrCorrupt, len(raw), d, ref)
	}
	return raw, nil
}

package fleet

import (
	"context"
	"errors"
	"fmt"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// mayBePrivate reports whether ref may be in the bucket as content that is not everybody's.
func (r *Registry) mayBePrivate(ref oci.Ref) bool {
	return !r.opts.Private.IsZero() && !r.opts.Public(ref)
}

// openPrivate opens what the bucket has of a repository that is not everybody's, once the
// upstream has said that this repository has it and that this mirror may. That is no pull.
func (r *Registry) openPrivate(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := r.openShared(ctx, ref, r.opts.Private.Private(ref), oci.UnknownSize)
	if err != nil {
		return nil, err
	}
	found, err := r.opts.Next.Resolve(ctx, ref)
	if err == nil && found.Digest != ref.Digest() {
		err = fmt.Errorf("the upstream has %s as %s", ref, found.Digest)
	}
	if b, ok := oci.Unverified(content.Body).(*body); ok && err == nil {
		err = b.checkSize(found.Size)
	}
	if err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return content, nil
}

// keyOf is the key that ref is uploaded to. It reports false for what is not shared.
func (r *Registry) keyOf(ref oci.Ref, public bool) (string, bool) {
	if public {
		return keys.Blob(ref.Digest()), true
	}
	if r.opts.Private.IsZero() {
		return "", false
	}
	return r.opts.Private.Private(ref), true
}

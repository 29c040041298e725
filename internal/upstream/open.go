package upstream

import (
	"bytes"
	"context"
	"net/http"

	"mirrord/internal/oci"
)

// Open fetches a manifest whole, or the beginning of a blob.
func (r *Registry) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref.Kind() == oci.Manifest {
		return r.openManifest(ctx, ref)
	}
	return r.openBlob(ctx, ref)
}

type wholeBody struct{ *bytes.Reader }

func (wholeBody) Close() error { return nil }

func (r *Registry) openManifest(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	ctx, _, cancel := untilAnswer(ctx)
	defer cancel()
	d, raw, err := r.getManifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &oci.Content{
		Answer: oci.Answer{Descriptor: d, Via: oci.Pass},
		Body:   wholeBody{bytes.NewReader(raw)},
	}, nil
}

func (r *Registry) openBlob(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	b, err := r.connect(ctx, ref, oci.OffsetHint(ctx))
	if err != nil {
		return nil, err
	}
	if b.size == oci.UnknownSize {
		if d, err := r.Resolve(ctx, ref); err == nil {
			b.size = d.Size
		}
	}
	d := oci.Descriptor{Digest: ref.Digest(), Size: b.size}
	return &oci.Content{Answer: oci.Answer{Descriptor: d, Via: oci.Pass}, Body: oci.Verify(b, d)}, nil
}

// connect returns a body at the beginning of the blob that is connected at
// offset, or at 0 when the upstream does not send a part.
func (r *Registry) connect(ctx context.Context, ref oci.Ref, offset int64) (*body, error) {
	b := r.newBody(ctx, ref, offset)
	err := b.connectFirst()
	if err != nil && offset > 0 && oci.CodeOf(err) == oci.Unavailable && ctx.Err() == nil {
		b = r.newBody(ctx, ref, 0)
		err = b.connectFirst()
	}
	b.offset = 0
	return b, err
}

// getBlob asks for a blob from offset on.
func (r *Registry) getBlob(ctx context.Context, ref oci.Ref, byteRange string) (*http.Response, error) {
	return r.do(ctx, request{
		operation: BlobGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: ref.Repository(), byteRange: byteRange, what: ref,
	})
}

package upstream

import (
	"bytes"
	"context"
	"errors"
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
	ctx, _, cancel := r.withResponseTimeout(ctx)
	defer cancel()
	d, raw, err := r.getManifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &oci.Content{
		Result: oci.Result{Descriptor: d, Via: oci.Pass},
		Body:   wholeBody{bytes.NewReader(raw)},
	}, nil
}

// openBlob connects at the hinted offset, or at 0 when the upstream does not send
// parts. Everything together has responseTimeout.
func (r *Registry) openBlob(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	ctx, answered, cancel := r.withResponseTimeout(ctx)
	part := oci.PartHint(ctx)
	b := r.newBody(ctx, ref, part.Begin)
	if part.End > 0 {
		b.parts = []oci.Span{part}
	}
	b.release = cancel
	if err := b.connectWithRetry(); err != nil {
		cancel()
		return nil, err
	}
	b.offset = 0
	if b.size == oci.UnknownSize {
		b.size = r.sizeOf(ctx, ref)
	}
	answered()
	if ctx.Err() != nil { // the time ran out
		return nil, errors.Join(oci.Errorf(oci.Unavailable, "%s: %w", r.opts.Name, context.Cause(ctx)), b.Close())
	}
	d := oci.Descriptor{Digest: ref.Digest(), Size: b.size}
	return &oci.Content{Result: oci.Result{Descriptor: d, Via: oci.Pass}, Body: oci.Verify(b, d)}, nil
}

// sizeOf asks for the size of a blob whose GET does not report it. The size is
// optional, so this has little time.
func (r *Registry) sizeOf(ctx context.Context, ref oci.Ref) int64 {
	ctx, cancel := context.WithTimeout(ctx, firstTryTime)
	defer cancel()
	d, err := r.Resolve(ctx, ref)
	if err != nil {
		return oci.UnknownSize
	}
	return d.Size
}

// getBlob requests a blob from offset on.
func (r *Registry) getBlob(ctx context.Context, ref oci.Ref, byteRange string) (*http.Response, error) {
	return r.do(ctx, request{
		operation: BlobGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: r.remote(ref.Repository()), byteRange: byteRange, ref: ref,
	})
}

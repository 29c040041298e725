package ocitest

import (
	"context"
	"errors"
	"io"
	"testing"

	"mirrord/internal/oci"
)

// Content returns n pseudo-random bytes that depend only on seed.
func Content(n int, seed byte) []byte {
	p := make([]byte, n)
	x := uint32(seed) + 1
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

// ManifestRef returns the reference to a manifest in Repo, by tag or digest.
func ManifestRef(t testing.TB, reference string) oci.Ref {
	t.Helper()
	ref, err := oci.ParseManifest(Upstream, Repo, reference)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// BlobRef returns the reference to a blob in Repo.
func BlobRef(t testing.TB, d oci.Digest) oci.Ref {
	t.Helper()
	ref, err := oci.ParseBlob(Upstream, Repo, d.String())
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Read opens ref and returns its bytes and the Result.
func Read(ctx context.Context, r oci.Registry, ref oci.Ref) ([]byte, oci.Result, error) {
	content, err := r.Open(ctx, ref)
	if err != nil {
		return nil, oci.Result{}, err
	}
	raw, err := io.ReadAll(content.Body)
	return raw, content.Result, errors.Join(err, content.Close())
}

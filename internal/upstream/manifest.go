package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"mirrord/internal/oci"
)

func tooLarge(upstream string, ref oci.Ref) error {
	return oci.Errorf(oci.Unavailable, "%s: manifest %s is larger than the limit of %d bytes", upstream, ref, oci.MaxManifestSize)
}

// getManifest fetches a manifest and verifies it.
func (r *Registry) getManifest(ctx context.Context, ref oci.Ref) (oci.Descriptor, []byte, error) {
	resp, err := r.do(ctx, request{
		operation: ManifestGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: r.remote(ref.Repository()), accept: acceptManifests, ref: ref,
	})
	if err != nil {
		return oci.Descriptor{}, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(progressing(ctx, io.LimitReader(resp.Body, oci.MaxManifestSize+1)))
	if err != nil {
		return oci.Descriptor{}, nil, oci.Errorf(oci.Unavailable, "%s: cannot read manifest %s: %w", r.opts.Name, ref, redact(err))
	}
	d, err := r.checkManifest(ref, resp, raw)
	if err != nil {
		return oci.Descriptor{}, nil, &oci.Error{Code: oci.CodeOf(err), Message: err.Error(), Err: errors.Join(oci.ErrUnusable, err)}
	}
	return d, raw, nil
}

// checkManifest describes raw, or fails when it is not the manifest that ref names.
// The media type is the one in the manifest: registries send the right bytes as
// text/plain or application/json, and a wrong type would reach every client.
func (r *Registry) checkManifest(ref oci.Ref, resp *http.Response, raw []byte) (oci.Descriptor, error) {
	if len(raw) > oci.MaxManifestSize {
		return oci.Descriptor{}, tooLarge(r.opts.Name, ref)
	}
	d, err := digestOf(ref, resp, raw)
	if err != nil {
		return oci.Descriptor{}, oci.Errorf(oci.Unavailable, "%s %w%s", r.opts.Name, err, encoded(resp))
	}
	told := mediaType(resp)
	own, err := oci.ManifestType(raw)
	if err != nil && oci.IsManifestType(told) {
		return oci.Descriptor{}, oci.Errorf(oci.Unavailable, "%s: the response for %s is %w%s", r.opts.Name, ref, err, encoded(resp))
	}
	described := oci.Descriptor{MediaType: cmp.Or(own, told), Digest: d, Size: int64(len(raw))}
	return described, checkMediaType(r.opts.Name, described.MediaType)
}

// encoded describes a compressed response, which was not requested, for an error.
func encoded(resp *http.Response) string {
	if isEncoded(resp) {
		return fmt.Sprintf(" (with Content-Encoding: %.20q, which was not requested)", resp.Header.Get("Content-Encoding"))
	}
	return ""
}

// digestOf returns the digest of raw: the one in ref, or for a tag the sha256, by
// which every registry finds it. It fails when raw does not match ref or the response
// header.
func digestOf(ref oci.Ref, resp *http.Response, raw []byte) (oci.Digest, error) {
	want := ref.Digest()
	if want == "" {
		want, _ = oci.ParseDigest(digestHeader(resp)) // an invalid digest is ignored
	}
	if want == "" {
		return oci.FromBytes(raw), nil
	}
	if got := want.Algorithm().FromBytes(raw); got != want {
		return "", fmt.Errorf("sent a manifest with digest %s for %s", got, ref)
	}
	return cmp.Or(ref.Digest(), oci.FromBytes(raw)), nil
}

// checkMediaType refuses a type that cannot be a manifest's, such as a login page
// that is sent with 200.
func checkMediaType(upstream, t string) error {
	switch {
	case isSchema1(t):
		return schema1(upstream)
	case oci.IsManifestType(t):
		return nil
	}
	return oci.Errorf(oci.Unavailable, "%s sent %q instead of a manifest: is it a registry?", upstream, t)
}

func isSchema1(t string) bool {
	return t == oci.DockerSchema1 || t == "application/vnd.docker.distribution.manifest.v1+prettyjws"
}

func schema1(upstream string) error {
	return oci.Errorf(oci.ManifestUnknown, "%s has only a schema 1 manifest, which clients no longer support", upstream)
}

package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/oci"
)

// responseTimeout bounds all that is asked for one answer until that begins: token,
// redirects and second tries included. containerd gives up after 30 s.
const responseTimeout = 15 * time.Second

var errResponseTimeout = fmt.Errorf("no response within %s", responseTimeout)

// withResponseTimeout returns a context that ends after answerTime unless answered is
// called before. What is sent with it tells oci.Progress.
func withResponseTimeout(ctx context.Context) (bounded context.Context, answered func(), cancel func()) {
	bounded, end := context.WithCancelCause(withProgressTrace(ctx))
	timer := time.AfterFunc(responseTimeout, func() { end(errResponseTimeout) })
	return bounded, func() { timer.Stop() }, func() { timer.Stop(); end(nil) }
}

// Resolve asks with a HEAD. Of a manifest it believes only the digest, the size
// and the type that can be true: see oci.Registry. A blob's size it measures by
// a GET of one byte, which costs no pull.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	ctx, _, cancel := withResponseTimeout(ctx)
	defer cancel()
	resolve := r.resolveManifest
	if ref.Kind() == oci.Blob {
		resolve = r.resolveBlob
	}
	d, err := resolve(ctx, ref)
	return oci.Result{Descriptor: d, Via: oci.Pass}, err
}

func (r *Registry) resolveManifest(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: ManifestHead, method: http.MethodHead, url: r.contentURL(ref),
		repository: ref.Repository(), accept: acceptManifests, ref: ref,
	})
	if err != nil {
		return oci.Descriptor{}, err
	}
	discard(resp)
	d, err := r.digestByHead(ref, resp)
	if err != nil {
		return oci.Descriptor{}, err
	}
	claimed := oci.Descriptor{MediaType: mediaType(resp), Digest: d, Size: contentLength(resp)}
	switch {
	case isSchema1(claimed.MediaType):
		return oci.Descriptor{}, schema1(r.opts.Name)
	case !claimed.Complete():
		return oci.Descriptor{Digest: d, Size: oci.UnknownSize}, nil
	}
	return claimed, nil
}

// digestByHead returns the digest that the answer to a HEAD tells of ref. Of
// another algorithm than sha256 it tells nothing of a tag: few registries find
// by such a digest what they hold by sha256.
func (r *Registry) digestByHead(ref oci.Ref, resp *http.Response) (oci.Digest, error) {
	header := digestHeader(resp)
	told, err := oci.ParseDigest(header)
	switch {
	case ref.ByDigest() && err == nil && told.Algorithm() == ref.Digest().Algorithm() && told != ref.Digest():
		return "", oci.Errorf(oci.Unavailable, "%s responded with digest %s for %s", r.opts.Name, told, ref)
	case err == nil && (ref.ByDigest() || told.Algorithm() == digest.SHA256):
		return cmp.Or(ref.Digest(), told), nil
	case mediaType(resp) == htmlType:
		return "", checkMediaType(r.opts.Name, htmlType) // a login's page: a GET brings the same
	case ref.ByDigest():
		return ref.Digest(), nil
	}
	return "", oci.Errorf(oci.Unavailable, "%s: %w: Docker-Content-Digest for %s is %.80q", r.opts.Name, oci.ErrNeedsGet, ref, header)
}

// digestHeader returns Docker-Content-Digest without the quotes that some put
// around it. It may be on a redirect that has led to the answer.
func digestHeader(resp *http.Response) string {
	for ; resp != nil; resp = resp.Request.Response {
		if header := strings.Trim(resp.Header.Get("Docker-Content-Digest"), `" `); header != "" {
			return header
		}
	}
	return ""
}

// contentLength returns the length of the content, or UnknownSize when an answer
// tells that of something else: nothing, or a compressed form of it.
func contentLength(resp *http.Response) int64 {
	if resp.ContentLength <= 0 || isEncoded(resp) {
		return oci.UnknownSize
	}
	return resp.ContentLength
}

func isEncoded(resp *http.Response) bool {
	encoding := resp.Header.Get("Content-Encoding")
	return encoding != "" && !strings.EqualFold(encoding, "identity")
}

func (r *Registry) resolveBlob(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: BlobHead, method: http.MethodHead, url: r.contentURL(ref),
		repository: ref.Repository(), ref: ref,
	})
	if err == nil {
		discard(resp)
		if err := checkBlobType(r.opts.Name, ref, resp); err != nil {
			return oci.Descriptor{}, err
		}
		if size := contentLength(resp); size != oci.UnknownSize || isEmpty(ref.Digest()) {
			return oci.Descriptor{Digest: ref.Digest(), Size: max(size, 0)}, nil
		}
	} else if oci.CodeOf(err) != oci.Unavailable || ctx.Err() != nil {
		return oci.Descriptor{}, err
	}
	return r.measureBlob(ctx, ref)
}

// isEmpty reports whether d is the digest of no bytes.
func isEmpty(d oci.Digest) bool { return d == d.Algorithm().FromBytes(nil) }

// measureBlob learns a blob's size from one byte of it: a link that was signed
// for GET refuses HEAD.
func (r *Registry) measureBlob(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: BlobGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: ref.Repository(), byteRange: "bytes=0-0", ref: ref,
	})
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := checkBlobType(r.opts.Name, ref, resp); err != nil {
		return oci.Descriptor{}, err
	}
	size := contentLength(resp)
	if resp.StatusCode == http.StatusPartialContent && !isEncoded(resp) {
		part, err := parseSpan(resp)
		if err == nil && part.size == oci.UnknownSize {
			err = errors.New("206 response without the total size")
		}
		if err != nil {
			return oci.Descriptor{}, oci.Errorf(oci.Unavailable, "%s: %w", r.opts.Name, err)
		}
		size = part.size
	}
	return oci.Descriptor{Digest: ref.Digest(), Size: size}, nil
}

// mediaType returns the Content-Type without parameters.
func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// htmlType is the type of what a login or a proxy on the way sends.
const htmlType = "text/html"

// checkBlobType refuses a page, such as that of a login or of a proxy on the
// way, before anybody is answered. A blob may be one, but then its registry says
// whose it is.
func checkBlobType(upstream string, ref oci.Ref, resp *http.Response) error {
	if mediaType(resp) != htmlType || resp.Header.Get("Docker-Content-Digest") == ref.Digest().String() {
		return nil
	}
	return oci.Errorf(oci.Unavailable, "%s sent an HTML page instead of blob %s: is there a login page or a proxy in between?", upstream, ref.Digest())
}

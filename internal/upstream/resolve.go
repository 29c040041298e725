package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/oci"
)

// responseTimeout bounds everything until a response begins, unless another is
// configured: the token, redirects and second tries included. containerd gives up
// after 30 s.
const responseTimeout = 15 * time.Second

var errResponseTimeout error = responseTimedOut{}

type responseTimedOut struct{}

func (responseTimedOut) Error() string { return "no response" }
func (responseTimedOut) Timeout() bool { return true }

// withResponseTimeout returns a context that ends after the response timeout unless
// answered is called before. Requests with it report to oci.Progress.
func (r *Registry) withResponseTimeout(ctx context.Context) (bounded context.Context, answered func(), cancel func()) {
	bounded, end := context.WithCancelCause(withProgressTrace(ctx))
	limit := cmp.Or(r.opts.ResponseTimeout, responseTimeout)
	timer := time.AfterFunc(limit, func() { end(fmt.Errorf("%w within %s", errResponseTimeout, limit)) })
	return bounded, func() { timer.Stop() }, func() { timer.Stop(); end(nil) }
}

// Resolve sends a HEAD. For a manifest it accepts a digest, size and type only if
// they can be true: see oci.Registry. The size of a blob is measured by a GET of one
// byte, which costs no pull.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	ctx, _, cancel := r.withResponseTimeout(ctx)
	defer cancel()
	if ref.Kind() == oci.Blob {
		d, err := r.resolveBlob(ctx, ref)
		return oci.Result{Descriptor: d, Via: oci.Pass}, err
	}
	return r.resolveManifest(ctx, ref)
}

func (r *Registry) resolveManifest(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	resp, err := r.do(ctx, request{
		operation: ManifestHead, method: http.MethodHead, url: r.contentURL(ref),
		repository: r.remote(ref.Repository()), accept: acceptManifests, ref: ref,
	})
	if err != nil {
		return oci.Result{}, err
	}
	discard(resp)
	d, err := r.digestByHead(ref, resp)
	if err != nil {
		return oci.Result{}, err
	}
	result := staleness(resp)
	result.Descriptor = oci.Descriptor{MediaType: mediaType(resp), Digest: d, Size: contentLength(resp)}
	switch {
	case isSchema1(result.MediaType):
		return oci.Result{}, schema1(r.opts.Name)
	case !result.Complete():
		result.Descriptor = oci.Descriptor{Digest: d, Size: oci.UnknownSize}
	}
	return result, nil
}

// staleness returns a Result that says whether the response is stale: the upstream is a
// mirror, and its own upstream is unavailable. Warning and Age are as in RFC 7234,
// sections 5.5.1 and 5.1.
func staleness(resp *http.Response) oci.Result {
	if !strings.HasPrefix(resp.Header.Get("Warning"), "110 ") {
		return oci.Result{Via: oci.Pass}
	}
	age, _ := strconv.ParseInt(resp.Header.Get("Age"), 10, 31) // 0 if there is none
	return oci.Result{Via: oci.Stale, Reason: oci.StaleUnavailable, Checked: time.Now().Add(-time.Duration(max(age, 0)) * time.Second)}
}

// digestByHead returns the digest of ref in the response to a HEAD. For a tag a
// digest of another algorithm than sha256 is ignored: few registries find content by
// it that they store by sha256.
func (r *Registry) digestByHead(ref oci.Ref, resp *http.Response) (oci.Digest, error) {
	header := digestHeader(resp)
	told, err := oci.ParseDigest(header)
	switch {
	case ref.ByDigest() && err == nil && told.Algorithm() == ref.Digest().Algorithm() && told != ref.Digest():
		return "", oci.Errorf(oci.Unavailable, "%s responded with digest %s for %s", r.opts.Name, told, ref)
	case err == nil && (ref.ByDigest() || told.Algorithm() == digest.SHA256):
		return cmp.Or(ref.Digest(), told), nil
	case mediaType(resp) == htmlType:
		return "", checkMediaType(r.opts.Name, htmlType) // a login page: a GET returns the same
	case ref.ByDigest():
		return ref.Digest(), nil
	}
	return "", oci.Errorf(oci.Unavailable, "%s: %w: Docker-Content-Digest for %s is %.80q", r.opts.Name, oci.ErrNeedsGet, ref, header)
}

// digestHeader returns Docker-Content-Digest without the quotes that some registries
// add. It may be on a redirect that led to the response.
func digestHeader(resp *http.Response) string {
	for ; resp != nil; resp = resp.Request.Response {
		if header := strings.Trim(resp.Header.Get("Docker-Content-Digest"), `" `); header != "" {
			return header
		}
	}
	return ""
}

// contentLength returns the length of the content, or UnknownSize when the response
// reports the length of something else: of nothing, or of a compressed form.
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
		repository: r.remote(ref.Repository()), ref: ref,
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

// measureBlob learns a blob's size by requesting one byte: a link that is signed for
// GET refuses HEAD.
func (r *Registry) measureBlob(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: BlobGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: r.remote(ref.Repository()), byteRange: "bytes=0-0", ref: ref,
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

// htmlType is the type of a page that a login or a proxy sends.
const htmlType = "text/html"

// checkBlobType refuses an HTML page, such as that of a login or a proxy, before any
// client has a response. A blob may be HTML, but then the registry sends its digest.
func checkBlobType(upstream string, ref oci.Ref, resp *http.Response) error {
	if mediaType(resp) != htmlType || resp.Header.Get("Docker-Content-Digest") == ref.Digest().String() {
		return nil
	}
	return oci.Errorf(oci.Unavailable, "%s sent an HTML page instead of blob %s: is there a login page or a proxy in between?", upstream, ref.Digest())
}

package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mirrord/internal/oci"
)

// answerTime bounds a request until its answer begins, token and redirects
// included: containerd gives up after 30 s.
const answerTime = 20 * time.Second

var errAnswerTime = fmt.Errorf("no answer within %s", answerTime)

// untilAnswer returns a context that ends after answerTime unless answered is
// called before.
func untilAnswer(ctx context.Context) (bounded context.Context, answered func(), cancel func()) {
	bounded, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(answerTime, func() { end(errAnswerTime) })
	return bounded, func() { timer.Stop() }, func() { timer.Stop(); end(nil) }
}

// Resolve asks with a HEAD.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Answer, error) {
	ctx, _, cancel := untilAnswer(ctx)
	defer cancel()
	resolve := r.resolveManifest
	if ref.Kind() == oci.Blob {
		resolve = r.resolveBlob
	}
	d, err := resolve(ctx, ref)
	return oci.Answer{Descriptor: d, Via: oci.Pass}, err
}

func (r *Registry) resolveManifest(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: ManifestHead, method: http.MethodHead, url: r.contentURL(ref),
		repository: ref.Repository(), accept: acceptManifests, what: ref,
	})
	if errors.Is(err, errMethod) {
		return r.measureManifest(ctx, ref)
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	discard(resp)
	d := oci.Descriptor{MediaType: mediaType(resp), Digest: ref.Digest(), Size: resp.ContentLength}
	if d.MediaType == pageType {
		return oci.Descriptor{}, checkMediaType(r.Name, d.MediaType)
	}
	if header := resp.Header.Get("Docker-Content-Digest"); header != "" {
		told, err := oci.ParseDigest(header)
		if err != nil || ref.ByDigest() && told != ref.Digest() {
			return oci.Descriptor{}, oci.Errorf(oci.Unavailable, "%s answers with digest %q for %s", r.Name, header, ref)
		}
		d.Digest = told
	}
	if d.Digest == "" || d.Size < 0 {
		return r.measureManifest(ctx, ref)
	}
	if d.Size > oci.MaxManifestSize {
		return oci.Descriptor{}, tooLarge(r.Name, ref)
	}
	return d, checkMediaType(r.Name, d.MediaType)
}

// measureManifest resolves by a GET, for a registry whose HEAD does not tell.
func (r *Registry) measureManifest(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	d, _, err := r.getManifest(ctx, ref)
	return d, err
}

func (r *Registry) resolveBlob(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: BlobHead, method: http.MethodHead, url: r.contentURL(ref),
		repository: ref.Repository(), what: ref,
	})
	if err == nil {
		discard(resp)
		if err := checkBlobType(r.Name, ref, resp); err != nil {
			return oci.Descriptor{}, err
		}
		if resp.ContentLength >= 0 {
			return oci.Descriptor{Digest: ref.Digest(), Size: resp.ContentLength}, nil
		}
	} else if oci.CodeOf(err) != oci.Unavailable || ctx.Err() != nil {
		return oci.Descriptor{}, err
	}
	return r.measureBlob(ctx, ref)
}

// measureBlob learns a blob's size from one byte of it: a link that was signed
// for GET refuses HEAD.
func (r *Registry) measureBlob(ctx context.Context, ref oci.Ref) (oci.Descriptor, error) {
	resp, err := r.do(ctx, request{
		operation: BlobGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: ref.Repository(), byteRange: "bytes=0-0", what: ref,
	})
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := checkBlobType(r.Name, ref, resp); err != nil {
		return oci.Descriptor{}, err
	}
	size := resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		if _, size, err = contentRange(resp); err != nil {
			return oci.Descriptor{}, oci.Errorf(oci.Unavailable, "%s: %w", r.Name, err)
		}
	}
	return oci.Descriptor{Digest: ref.Digest(), Size: size}, nil
}

// contentRange reads where a 206 begins and how long the whole is: RFC 9110,
// section 14.4.
func contentRange(resp *http.Response) (first, size int64, err error) {
	header := resp.Header.Get("Content-Range")
	span, total, ok := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	start, _, ok2 := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(start, 10, 64)
	size, err2 := strconv.ParseInt(total, 10, 64)
	if !ok || !ok2 || errors.Join(err1, err2) != nil || first < 0 || size < first {
		return 0, 0, fmt.Errorf("answer 206 with Content-Range %q", header)
	}
	return first, size, nil
}

// mediaType returns the Content-Type without parameters.
func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// checkMediaType refuses what cannot be a manifest, such as the page of a login
// that answers 200.
func checkMediaType(upstream, t string) error {
	if strings.HasSuffix(t, "+prettyjws") {
		return oci.Errorf(oci.ManifestUnknown, "%s has only a manifest of schema 1, which no client takes any more", upstream)
	}
	if strings.HasPrefix(t, "application/") && strings.Contains(t, "json") {
		return nil
	}
	return oci.Errorf(oci.Unavailable, "%s sends %q where a manifest should be: is it a registry?", upstream, t)
}

// pageType is the type of what a login or a proxy on the way sends.
const pageType = "text/html"

// checkBlobType refuses a page, such as that of a login or of a proxy on the
// way, before anybody is answered. A blob may be one, but then its registry says
// whose it is.
func checkBlobType(upstream string, ref oci.Ref, resp *http.Response) error {
	if mediaType(resp) != pageType || resp.Header.Get("Docker-Content-Digest") == ref.Digest().String() {
		return nil
	}
	return oci.Errorf(oci.Unavailable, "%s sends an HTML page where blob %s should be: is there a login or a proxy on the way?", upstream, ref.Digest())
}

func tooLarge(upstream string, ref oci.Ref) error {
	return oci.Errorf(oci.Unavailable, "%s: manifest %s is larger than %d bytes; such are not served", upstream, ref, oci.MaxManifestSize)
}

// getManifest fetches a manifest and checks all that can be checked.
func (r *Registry) getManifest(ctx context.Context, ref oci.Ref) (oci.Descriptor, []byte, error) {
	resp, err := r.do(ctx, request{
		operation: ManifestGet, method: http.MethodGet, url: r.contentURL(ref),
		repository: ref.Repository(), accept: acceptManifests, what: ref,
	})
	if err != nil {
		return oci.Descriptor{}, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxManifestSize+1))
	if err != nil {
		return oci.Descriptor{}, nil, oci.Errorf(oci.Unavailable, "%s: manifest %s broke off: %w", r.Name, ref, redact(err))
	}
	d, err := r.checkManifest(ref, resp, raw)
	if err != nil {
		return oci.Descriptor{}, nil, &oci.Error{Code: oci.CodeOf(err), Message: err.Error(), Err: errors.Join(oci.ErrUseless, err)}
	}
	return d, raw, nil
}

// checkManifest says what raw is, or why it is not the manifest that ref names.
func (r *Registry) checkManifest(ref oci.Ref, resp *http.Response, raw []byte) (oci.Descriptor, error) {
	if len(raw) > oci.MaxManifestSize {
		return oci.Descriptor{}, tooLarge(r.Name, ref)
	}
	d := oci.Descriptor{MediaType: mediaType(resp), Digest: digestOf(ref, resp, raw), Size: int64(len(raw))}
	if told := resp.Header.Get("Docker-Content-Digest"); ref.ByDigest() && d.Digest != ref.Digest() || !ref.ByDigest() && told != "" && d.Digest.String() != told {
		return oci.Descriptor{}, oci.Errorf(oci.Unavailable, "%s sends a manifest of digest %s for %s%s", r.Name, d.Digest, ref, encoded(resp))
	}
	return d, checkMediaType(r.Name, d.MediaType)
}

// encoded says in words that an answer is compressed, which was not asked for.
func encoded(resp *http.Response) string {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" {
		return fmt.Sprintf(" (it says Content-Encoding: %.20q, which was not asked for)", encoding)
	}
	return ""
}

// digestOf hashes raw with the algorithm of the digest that it should have.
func digestOf(ref oci.Ref, resp *http.Response, raw []byte) oci.Digest {
	wanted := ref.Digest()
	if wanted == "" {
		wanted = oci.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if wanted.Validate() == nil {
		return wanted.Algorithm().FromBytes(raw)
	}
	return oci.FromBytes(raw)
}

// Package fleet makes several mirrors share what they fetch, on an object store: a
// Registry that asks the bucket before the upstream, and Uploads, which put into the
// bucket what the upstream has sent.
//
// Content is named by its digest and verified by every receiver, so nothing in the bucket
// has to be believed: in doubt it is absent, every wait has a bound, and the last resort
// is the upstream.
package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// Options of a Registry. Hooks may be nil.
type Options struct {
	Next   oci.Registry // the upstreams
	Bucket bucket.Bucket
	Hooks  Hooks
}

// Hooks report what no call returns. Each may be nil, may be called concurrently, and must
// not block for long.
type Hooks struct {
	Failing   func(err error)               // the bucket is left alone for a while
	Recovered func()                        // it works again
	Corrupt   func(ref oci.Ref)             // its bytes of ref are wrong
	Uploaded  func(ref oci.Ref, size int64) // ref is in the bucket now
	Refused   func(ref oci.Ref, err error)  // ref cannot be uploaded
}

// Registry serves blobs and manifests by digest from the bucket, if it has them, and all
// else from the upstreams. Its methods may be called concurrently.
type Registry struct {
	opts  Options
	reads *breaker
	wrong *lru.Cache[oci.Digest, corrupt] // objects whose bytes are wrong
}

// corrupt is an object whose bytes are wrong.
type corrupt struct {
	etag  string
	found time.Time
}

const (
	responseTime = 2 * time.Second  // for the first bytes of an object: the upstream can be asked instead
	manifestTime = 5 * time.Second  // for all of a manifest
	stallTime    = 15 * time.Second // without a byte of an object
	corruptTime  = 10 * time.Minute // for which an object with wrong bytes is not read again
	maxCorrupt   = 1024
)

// New returns a Registry. Nothing is sent.
func New(o Options) *Registry {
	wrong, err := lru.New[oci.Digest, corrupt](maxCorrupt)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Registry{opts: o, reads: newBreaker(o.Hooks), wrong: wrong}
}

// Resolve asks the upstream: a HEAD costs no pull.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	return r.opts.Next.Resolve(ctx, ref)
}

// List asks the upstream.
func (r *Registry) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	return r.opts.Next.List(ctx, q)
}

// Open opens what the bucket has of ref, with Via Shared, or else asks the upstream.
func (r *Registry) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if !ref.ByDigest() || r.isCorrupt(ref.Digest()) {
		return r.opts.Next.Open(ctx, ref)
	}
	open := r.openBlob
	if ref.Kind() == oci.Manifest {
		open = r.openManifest
	}
	content, err := open(ctx, ref)
	if err == nil {
		return content, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.opts.Next.Open(ctx, ref)
}

func (r *Registry) openBlob(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	b := &body{registry: r, ctx: ctx, ref: ref, offset: oci.PartHint(ctx).Begin}
	if err := b.connect(); err != nil {
		return nil, err
	}
	if b.size < 0 {
		return nil, errors.Join(errors.New("the object store does not say the size of an object"), b.Close())
	}
	d := oci.Descriptor{Digest: ref.Digest(), Size: b.size}
	return &oci.Content{Result: oci.Result{Descriptor: d, Via: oci.Shared}, Body: oci.Verify(b, d)}, nil
}

// openManifest reads a manifest whole. One whose bytes do not say its media type is left
// to the upstream, which says it.
func (r *Registry) openManifest(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, manifestTime, errSlow)
	defer cancel()
	o, err := r.get(ctx, keys.Blob(ref.Digest()), 0, "")
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, oci.MaxManifestSize+1))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return nil, err
	}
	if ref.Digest().Algorithm().FromBytes(raw) != ref.Digest() {
		r.noteCorrupt(ref, o.ETag)
		return nil, fmt.Errorf("%s in the bucket: %w", ref, oci.ErrCorrupt)
	}
	own, err := oci.ManifestType(raw)
	if err != nil || own == "" {
		return nil, fmt.Errorf("%s in the bucket does not say its media type: %w", ref, err)
	}
	d := oci.Descriptor{MediaType: own, Digest: ref.Digest(), Size: int64(len(raw))}
	return &oci.Content{Result: oci.Result{Descriptor: d, Via: oci.Shared}, Body: io.NopCloser(bytes.NewReader(raw))}, nil
}

// get opens an object, unless the bucket is to be left alone. It fails when the store does
// not respond in time, and the Body does when it stalls.
func (r *Registry) get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	if err := r.reads.allow(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(responseTime, func() { cancel(errSlow) })
	o, err := r.opts.Bucket.Get(ctx, key, from, etag)
	if !timer.Stop() && err == nil {
		_ = o.Body.Close()
		err = errSlow
	}
	r.reads.note(ctx, err)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if beat := oci.Progress(ctx); beat != nil {
		beat()
	}
	o.Body = &watched{ReadCloser: o.Body, cancel: cancel}
	return o, nil
}

var errSlow = errors.New("the object store does not respond in time")

// watched is the body of an object that fails when a Read takes too long. While nobody
// reads, it may wait.
type watched struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	timer := time.AfterFunc(stallTime, func() { w.cancel(errSlow) })
	defer timer.Stop()
	return w.ReadCloser.Read(p)
}

func (w *watched) Close() error {
	w.cancel(nil)
	return w.ReadCloser.Close()
}

// noteCorrupt remembers that the object of ref has wrong bytes: the upstream is asked, and
// what it sends replaces them.
func (r *Registry) noteCorrupt(ref oci.Ref, etag string) {
	r.wrong.Add(ref.Digest(), corrupt{etag, time.Now()})
	if report := r.opts.Hooks.Corrupt; report != nil {
		report(ref)
	}
}

func (r *Registry) isCorrupt(d oci.Digest) bool {
	c, ok := r.wrong.Get(d)
	return ok && time.Since(c.found) < corruptTime
}

// cond is the condition under which d is uploaded: that it is not there, or is what has
// wrong bytes.
func (r *Registry) cond(d oci.Digest) bucket.Cond {
	if c, ok := r.wrong.Peek(d); ok {
		return bucket.IfMatch(c.etag)
	}
	return bucket.IfAbsent()
}

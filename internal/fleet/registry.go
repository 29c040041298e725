// Package fleet makes several mirrors share what they fetch, on an object store: a
// Registry that asks the bucket before the upstream, and Uploads, which put into the
// bucket what the upstream has sent. Mirrors that know a secret agree on who fetches what
// all of them miss, and the others read it from that one meanwhile.
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
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/oci"
)

// Options of a Registry. Hooks may be nil.
type Options struct {
	Next   oci.Registry // the upstreams
	Bucket bucket.Bucket
	Work   *Work // nil: this mirror fetches what the bucket does not have, whatever others do
	Hooks  Hooks

	// Private has the secret under which content is shared that is not everybody's. The
	// zero Secret: it is not shared.
	Private keys.Secret
	// Public reports whether ref is known to be everybody's, without asking anybody. It is
	// needed with Work and with Private.
	Public func(ref oci.Ref) bool
}

// Work is how mirrors agree on who fetches what.
type Work struct {
	Leases   *lease.Leases
	Siblings *sibling.Client

	// Ready reports whether the bucket is known to do what leases need.
	Ready func() bool
}

// Hooks report what no call returns. Each may be nil, may be called concurrently, and must
// not block for long.
type Hooks struct {
	Corrupt  func(ref oci.Ref)             // the bytes of ref in the bucket, or of another mirror, are wrong
	Uploaded func(ref oci.Ref, size int64) // ref is in the bucket now
	Refused  func(ref oci.Ref, err error)  // ref cannot be uploaded
	Role     func(Role)                    // of this mirror for what the bucket does not have
}

// Registry serves blobs and manifests by digest from the bucket or another mirror, if one
// of them has them, and all else from the upstreams. Its methods may be called
// concurrently.
type Registry struct {
	opts    Options
	wrong   *lru.Cache[oci.Digest, corrupt]  // objects whose bytes are wrong
	avoided *lru.Cache[string, time.Time]    // mirrors that have sent wrong bytes, by boot
	fetched *lru.Cache[oci.Digest, struct{}] // what the upstream was asked for in the place of another source
	peeked  *lru.Cache[oci.Ref, peeked]      // what Has has found
}

// corrupt is an object whose bytes are wrong.
type corrupt struct {
	key, etag string // empty: there is no object
	found     time.Time
}

const (
	responseTime = 2 * time.Second  // for the first bytes of an object: the upstream can be asked instead
	manifestTime = 5 * time.Second  // for all of a manifest
	stallTime    = 15 * time.Second // without a byte of an object
	corruptTime  = 10 * time.Minute // for which an object with wrong bytes is not read again
	maxRemember  = 1024             // wrong objects, avoided mirrors, fetched content
)

// New returns a Registry. Nothing is sent.
func New(o Options) *Registry {
	return &Registry{
		opts: o, wrong: newLRU[oci.Digest, corrupt](maxRemember), avoided: newLRU[string, time.Time](maxRemember),
		fetched: newLRU[oci.Digest, struct{}](maxRemember), peeked: newLRU[oci.Ref, peeked](maxPeeked),
	}
}

func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only for a size below one
	}
	return c
}

// Resolve asks the upstream: a HEAD costs no pull.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	return r.opts.Next.Resolve(ctx, ref)
}

// List asks the upstream.
func (r *Registry) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	return r.opts.Next.List(ctx, q)
}

// Open opens what the bucket has of ref, with Via Shared, or what another mirror is
// fetching, with Via Peer, or else asks the upstream.
func (r *Registry) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if content, ok := r.takePeeked(ref); ok {
		return content, nil
	}
	if !ref.ByDigest() || r.isCorrupt(ref.Digest()) {
		return r.opts.Next.Open(ctx, ref)
	}
	content, err := r.openBucket(ctx, ref)
	if errors.Is(err, bucket.ErrAbsent) || errors.Is(err, bucket.ErrSlow) { // others want it, too
		return r.openTogether(ctx, ref)
	}
	return r.orUpstream(ctx, ref, content, err)
}

// openBucket opens what the bucket has of ref, which is by digest.
func (r *Registry) openBucket(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := r.openShared(ctx, ref, keys.Blob(ref.Digest()), oci.UnknownSize)
	if errors.Is(err, bucket.ErrAbsent) && r.mayBePrivate(ref) {
		return r.openPrivate(ctx, ref)
	}
	return content, err
}

// orUpstream returns content, or asks the upstream when err says that there is none.
func (r *Registry) orUpstream(ctx context.Context, ref oci.Ref, content *oci.Content, err error) (*oci.Content, error) {
	if err == nil {
		return content, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.opts.Next.Open(ctx, ref)
}

// openShared opens what the bucket has of ref, under a key. A blob of another size than is
// known, unless that is oci.UnknownSize, is as wrong as one with other bytes.
func (r *Registry) openShared(ctx context.Context, ref oci.Ref, key string, size int64) (*oci.Content, error) {
	if ref.Kind() == oci.Manifest {
		return r.openManifest(ctx, ref, key)
	}
	b := r.newBody(ctx, ref)
	b.key = key
	if err := b.connectBucket(); err != nil {
		return nil, err
	}
	if b.size < 0 {
		return nil, errors.Join(errors.New("the object store does not say the size of an object"), b.Close())
	}
	if err := b.checkSize(size); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b.content(oci.Shared), nil
}

// openManifest reads a manifest from the bucket.
func (r *Registry) openManifest(ctx context.Context, ref oci.Ref, key string) (*oci.Content, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, manifestTime, bucket.ErrTimeout)
	defer cancel()
	o, err := r.get(ctx, key, 0, "", new(pace))
	if err != nil {
		return nil, err
	}
	content, err := readManifest(ref, o.Body, oci.Shared)
	if errors.Is(err, oci.ErrCorrupt) {
		r.noteCorrupt(ref, key, o.ETag)
	}
	return content, err
}

// readManifest reads a manifest whole, and closes from. It fails for one whose bytes do not
// say its media type: the upstream does.
func readManifest(ref oci.Ref, from io.ReadCloser, via oci.Via) (*oci.Content, error) {
	raw, err := io.ReadAll(io.LimitReader(from, oci.MaxManifestSize+1))
	if err := errors.Join(err, from.Close()); err != nil {
		return nil, err
	}
	if ref.Digest().Algorithm().FromBytes(raw) != ref.Digest() {
		return nil, fmt.Errorf("%s via %s: %w", ref, via, oci.ErrCorrupt)
	}
	own, err := oci.ManifestType(raw)
	if err != nil || own == "" {
		return nil, fmt.Errorf("%s via %s does not say its media type: %w", ref, via, err)
	}
	d := oci.Descriptor{MediaType: own, Digest: ref.Digest(), Size: int64(len(raw))}
	return &oci.Content{Result: oci.Result{Descriptor: d, Via: via}, Body: io.NopCloser(bytes.NewReader(raw))}, nil
}

// get opens an object. It fails when the store does not respond in time, and the Body does
// when it stalls or when the pace is too slow.
func (r *Registry) get(ctx context.Context, key string, from int64, etag string, p *pace) (*bucket.Object, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(responseTime, func() { cancel(bucket.ErrTimeout) })
	begun := time.Now()
	o, err := r.opts.Bucket.Get(ctx, key, from, etag)
	p.add(0, time.Since(begun))
	if !timer.Stop() && err == nil {
		_ = o.Body.Close()
		err = bucket.ErrTimeout
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if beat := oci.Progress(ctx); beat != nil {
		beat()
	}
	o.Body = &watched{o.Body, cancel, p}
	return o, nil
}

// getAgain opens an object of which a part was read before, with that ETag. A touch may have
// changed that since: the bytes are verified anyway.
func (r *Registry) getAgain(ctx context.Context, key string, from int64, etag string, p *pace) (*bucket.Object, error) {
	o, err := r.get(ctx, key, from, etag, p)
	if etag != "" && errors.Is(err, bucket.ErrPrecondition) {
		o, err = r.get(ctx, key, from, "", p)
	}
	return o, err
}

// watched is the body of an object that fails when a Read takes too long, or after one when
// the pace is too slow. While nobody reads, it may wait.
type watched struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	pace   *pace
}

func (w *watched) Read(p []byte) (int, error) {
	timer := time.AfterFunc(stallTime, func() { w.cancel(bucket.ErrTimeout) })
	begun := time.Now()
	n, err := w.ReadCloser.Read(p)
	timer.Stop()
	if w.pace.add(n, time.Since(begun)); w.pace.slow {
		w.cancel(errTooSlow)
	}
	return n, err
}

func (w *watched) Close() error {
	w.cancel(nil)
	return w.ReadCloser.Close()
}

// noteCorrupt remembers that wrong bytes were sent for ref, by the object with that key and
// ETag or, if they are empty, by another mirror: the upstream is asked, and what it sends
// replaces the object.
func (r *Registry) noteCorrupt(ref oci.Ref, key, etag string) {
	r.wrong.Add(ref.Digest(), corrupt{key, etag, time.Now()})
	if report := r.opts.Hooks.Corrupt; report != nil {
		report(ref)
	}
}

func (r *Registry) isCorrupt(d oci.Digest) bool {
	c, ok := r.wrong.Get(d)
	return ok && time.Since(c.found) < corruptTime
}

// cond is the condition under which d is uploaded as the object with a key: that it is not
// there, or is what has wrong bytes.
func (r *Registry) cond(d oci.Digest, key string) bucket.Cond {
	if c, ok := r.wrong.Peek(d); ok && c.key == key && c.etag != "" {
		return bucket.IfMatch(c.etag)
	}
	return bucket.IfAbsent()
}

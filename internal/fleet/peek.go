package fleet

import (
	"bytes"
	"context"
	"io"
	"time"

	"mirrord/internal/oci"
)

const (
	peekTime   = time.Second      // for what Has asks the bucket: a client waits for it
	peekedTime = time.Minute      // for which what Has has found is there for Open
	absentTime = 10 * time.Second // for which the bucket is not asked again for what it does not have
	maxPeek    = 64 << 10         // bytes of a manifest that Has finds: some hundreds may be in memory
	maxPeeked  = 256
)

// peeked is what Has has found of a manifest.
type peeked struct {
	found  bool
	result oci.Result
	raw    []byte
	at     time.Time
}

func (p peeked) isFresh() bool {
	if p.found {
		return time.Since(p.at) < peekedTime
	}
	return time.Since(p.at) < absentTime
}

// Has reports whether the bucket has ref, a manifest by digest, for this mirror, and what it
// is. The next Open of ref then gets it from memory, and so cannot end at the upstream, where
// it would be a pull.
func (r *Registry) Has(ctx context.Context, ref oci.Ref) (oci.Descriptor, bool) {
	if !ref.ByDigest() || r.isCorrupt(ref.Digest()) {
		return oci.Descriptor{}, false
	}
	p, ok := r.peeked.Get(ref)
	if !ok || !p.isFresh() {
		p = r.peek(ctx, ref)
		if ctx.Err() == nil { // else the client has left
			r.peeked.Add(ref, p)
		}
	}
	return p.result.Descriptor, p.found
}

// peek reads ref from the bucket.
func (r *Registry) peek(ctx context.Context, ref oci.Ref) peeked {
	bounded, cancel := context.WithTimeout(ctx, peekTime)
	defer cancel()
	content, err := r.openBucket(bounded, ref)
	if err != nil {
		return peeked{at: time.Now()}
	}
	raw, err := io.ReadAll(content.Body)
	_ = content.Close()
	if err != nil || len(raw) > maxPeek {
		return peeked{at: time.Now()}
	}
	return peeked{found: true, result: content.Result, raw: raw, at: time.Now()}
}

// takePeeked returns what Has has found of ref, once.
func (r *Registry) takePeeked(ref oci.Ref) (*oci.Content, bool) {
	p, ok := r.peeked.Get(ref)
	if !ok || !p.found || !p.isFresh() {
		return nil, false
	}
	r.peeked.Remove(ref)
	return &oci.Content{Result: p.result, Body: io.NopCloser(bytes.NewReader(p.raw))}, true
}

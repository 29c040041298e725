package cache

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/oci"
)

// pullTag learns what ref names by a GET, where a HEAD does not tell. That is a
// pull: payer, the context of the client that asks, is charged for it, none is
// spent on a newer copy that the quota is better kept from, and what it brings
// is cached, so that the GET by digest that follows costs nothing.
func (c *Cache) pullTag(ctx, payer context.Context, ref oci.Ref) (oci.Result, error) {
	c.mu.Lock()
	_, have := c.olderCopy(c.tags[ref])
	c.mu.Unlock()
	if have && c.Quota != nil {
		if err := c.Quota.Spare(payer, ref.Upstream()); err != nil {
			return oci.Result{}, err
		}
	}
	refund, err := c.take(payer, ref)
	if err != nil {
		return oci.Result{}, err
	}
	content, err := c.Next.Open(ctx, ref)
	if err != nil {
		if !errors.Is(err, oci.ErrUnusable) {
			refund()
		}
		return oci.Result{}, err
	}
	return c.cachePulled(ref, content)
}

// cachePulled reads what ref has turned out to name and caches it, unless it is
// cached already.
func (c *Cache) cachePulled(ref oci.Ref, content *oci.Content) (oci.Result, error) {
	raw, err := io.ReadAll(io.LimitReader(content.Body, oci.MaxManifestSize+1))
	if err := errors.Join(err, content.Close()); err != nil {
		return oci.Result{}, fmt.Errorf("read manifest %s: %w", ref, err)
	}
	d := content.Digest
	if len(raw) > oci.MaxManifestSize || d.Algorithm().FromBytes(raw) != d {
		return oci.Result{}, oci.Errorf(oci.Unavailable, "%w: %d bytes for %s of %s", oci.ErrCorrupt, len(raw), d, ref)
	}
	at := ref.At(d)
	m := manifest{typeOf(at, raw, content.MediaType), raw}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkPulls[ref.Upstream()]++
	if cached, have := c.cached(at); have {
		return oci.Result{Descriptor: cached, Via: oci.Revalidated}, nil
	}
	c.addManifest(d, m)
	if c.flights[keyOf(at)] == nil && !c.closed {
		f := c.newFlight(at, func() {})
		f.manifest = &m
		c.takeOff(f)
	}
	return m.answer(d, oci.Fill), nil
}

// describe is what there is to say of an answer that has come of a HEAD for ref.
// Of what is cached it is the cached copy, whatever the HEAD claims; what is too
// large to be served is not worth a pull.
func (c *Cache) describe(ref oci.Ref, answer oci.Result) (oci.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := ref.At(answer.Digest)
	described, have := c.cachedOrInFlight(at)
	if have {
		answer.Descriptor = described
	}
	switch {
	case !c.has(at):
		answer.Via = oci.Pass
	case ref.ByDigest(): // since it was asked about
		answer.Via = oci.Hit
	default:
		answer.Via = oci.Revalidated
	}
	return answer, refuseLarge(ref, answer.Size)
}

// refuseLarge refuses a manifest that is larger than any that is served.
func refuseLarge(ref oci.Ref, size int64) error {
	if ref.Kind() != oci.Manifest || size <= oci.MaxManifestSize {
		return nil
	}
	return oci.Errorf(oci.Unavailable, "manifest %s has %d bytes; more than %d are not served", ref, size, oci.MaxManifestSize)
}

// refusedByQuota reports whether err is the mirror's own decision about a pull,
// and says nothing of the upstream.
func refusedByQuota(err error) bool {
	var limit *oci.LimitError
	return errors.As(err, &limit) && (limit.Kind == oci.LimitReserve || limit.Kind == oci.LimitClient)
}

// measure describes a manifest of which a HEAD upstream does not tell enough, by
// what a GET of the same finds. Of a tag answer is what is known.
func (c *Cache) measure(ctx context.Context, ref oci.Ref, answer oci.Result) (oci.Result, error) {
	var content *oci.Content
	var err error
	if ref.ByDigest() {
		content, err = c.openDigest(ctx, ref)
	} else {
		content, err = c.openAnswer(ctx, ref, answer)
	}
	if err != nil {
		return oci.Result{}, err
	}
	return content.Result, content.Close()
}

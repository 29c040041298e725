package fleetprobe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
)

const maxObject = 4 << 10 // bytes of an object that a probe reads

// identity is what the first mirror with a secret seals in the object keys.Fleet, by which
// the others find out that they have the same.
type identity struct {
	ID string `json:"id"` // random
}

// findSecret compares the secret with that of the first mirror, or becomes the first.
func (p *Prober) findSecret(ctx context.Context) error {
	if p.opts.Secret.IsZero() {
		return nil
	}
	err := p.join(ctx)
	if errors.Is(err, bucket.ErrPrecondition) || errors.Is(err, bucket.ErrConflict) { // another was first just now
		err = p.join(ctx)
	}
	if err != nil && !errors.Is(err, ErrSecret) {
		return err
	}
	p.set(func() { p.found.SecretOK, p.secret = err == nil, err })
	if report := p.opts.Hooks.WrongSecret; err != nil && report != nil {
		report(err)
	}
	return nil
}

// join fails with ErrSecret when the bucket has an identity under another secret. One of a
// newer version cannot be read: each object that mirrors act on is sealed anyway.
func (p *Prober) join(ctx context.Context) error {
	o, err := p.opts.Bucket.Get(ctx, keys.Fleet, 0, "")
	if errors.Is(err, bucket.ErrAbsent) {
		return p.write(ctx, identity{rand.Text()}, bucket.IfAbsent())
	}
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, maxObject))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return err
	}
	var known identity
	err = p.opts.Secret.Open(keys.Fleet, raw, &known)
	switch {
	case errors.Is(err, keys.ErrNewer):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSecret, err)
	}
	return p.renew(ctx, known, raw, o.ETag)
}

// renew seals the identity under the present secret, if it is under the previous one.
func (p *Prober) renew(ctx context.Context, known identity, raw []byte, etag string) error {
	own, err := p.opts.Secret.Seal(keys.Fleet, known)
	if err != nil || bytes.Equal(own, raw) {
		return err
	}
	return p.write(ctx, known, bucket.IfMatch(etag))
}

// write writes the identity. On a store without conditions the last of several that are
// written at once is read by all later mirrors.
func (p *Prober) write(ctx context.Context, i identity, c bucket.Cond) error {
	raw, err := p.opts.Secret.Seal(keys.Fleet, i)
	if err != nil {
		return err
	}
	if !p.Capabilities().Conditions {
		c = bucket.Cond{}
	}
	_, err = p.opts.Bucket.Put(ctx, keys.Fleet, raw, c)
	return err
}

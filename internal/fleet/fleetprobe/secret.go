package fleetprobe

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/fleet/bucket"
)

// Key of the object by which mirrors find out that they have the same secret.
const Key = "v1/fleet"

const maxObject = 4 << 10 // bytes of an object that a probe reads

// identity is what the first mirror with a secret writes.
type identity struct {
	Version int    `json:"v"`
	ID      string `json:"id"`    // random
	Check   string `json:"check"` // hash of ID under the secret
}

// purpose is what Check is made for, apart from other hashes under the secret.
const purpose = "fleet"

// findSecret compares the secret with that of the first mirror, or becomes the first.
func (p *Prober) findSecret(ctx context.Context) error {
	if p.opts.Hash == nil {
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
	if err != nil && p.opts.Hooks.WrongSecret != nil {
		p.opts.Hooks.WrongSecret(err)
	}
	return nil
}

// join fails with ErrSecret when the bucket has an identity under another secret.
func (p *Prober) join(ctx context.Context) error {
	o, err := p.opts.Bucket.Get(ctx, Key, 0, "")
	if errors.Is(err, bucket.ErrAbsent) {
		return p.writeIdentity(ctx)
	}
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, maxObject))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return err
	}
	var known identity
	if err := json.Unmarshal(raw, &known); err != nil {
		return fmt.Errorf("%w: the object %s is not what mirrord writes: %w", ErrSecret, Key, err)
	}
	if !hmac.Equal([]byte(known.Check), []byte(p.opts.Hash(purpose, known.ID))) {
		return ErrSecret
	}
	return nil
}

// writeIdentity writes the identity of a new fleet. A store without conditions may let two
// mirrors do so: the last one's is read by all later ones.
func (p *Prober) writeIdentity(ctx context.Context) error {
	id := rand.Text()
	raw, err := json.Marshal(identity{Version: 1, ID: id, Check: p.opts.Hash(purpose, id)})
	if err != nil {
		return err
	}
	var c bucket.Cond
	if p.Capabilities().Conditions {
		c = bucket.IfAbsent()
	}
	_, err = p.opts.Bucket.Put(ctx, Key, raw, c)
	return err
}

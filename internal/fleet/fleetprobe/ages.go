package fleetprobe

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
)

const (
	settleTime = 5 * time.Second // that an object is left alone, to be told from a new one
	tooOld     = 6 * time.Second // how much older than it is an object may seem: 5 s, and clocks tell whole seconds
)

// findAges finds whether the store's clocks agree, and whether it changes the age of an
// object on demand.
func (p *Prober) findAges(ctx context.Context) error {
	t := trial{p.opts.Bucket, Prefix + rand.Text()}
	defer t.remove(ctx)
	sent := time.Now()
	if _, err := t.bucket.Put(ctx, t.key, []byte("age"), bucket.Cond{}); err != nil {
		return err
	}
	if !call.Sleep(ctx, settleTime) {
		return context.Cause(ctx)
	}
	o, err := t.bucket.Get(ctx, t.key, 0, "")
	if err != nil {
		return err
	}
	ages := o.Age > 0 && o.Age <= time.Since(sent)+tooOld
	if err := o.Body.Close(); err != nil {
		return err
	}
	touch, err := t.touches(ctx, o.ETag)
	if err != nil {
		return err
	}
	p.set(func() { p.found.Ages, p.found.Touch = ages, touch })
	return nil
}

// touches reports whether the age of the object can be set to zero. A store may accept
// that without effect, or refuse it by a policy.
func (t trial) touches(ctx context.Context, etag string) (bool, error) {
	err := t.bucket.Touch(ctx, t.key, etag)
	for _, refusal := range []error{bucket.ErrUnsupported, bucket.ErrDenied, bucket.ErrPrecondition, bucket.ErrConflict} {
		if errors.Is(err, refusal) {
			return false, nil
		}
	}
	return err == nil, err
}

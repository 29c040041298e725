package fleetprobe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"mirrord/internal/fleet/bucket"
)

// Prefix of the keys of objects that probes write, each for itself. What a probe that was
// killed leaves there may be deleted.
const Prefix = "v1/probe/"

// findConditions finds whether the store heeds the conditions of writes.
func (p *Prober) findConditions(ctx context.Context) error {
	t := trial{p.opts.Bucket, Prefix + rand.Text()}
	err := t.conditions(ctx)
	t.remove(ctx)
	if err != nil && !errors.Is(err, ErrConditions) {
		return err
	}
	p.set(func() { p.found.Conditions, p.lacks = err == nil, err })
	if err != nil && p.opts.Hooks.NoConditions != nil {
		p.opts.Hooks.NoConditions(err)
	}
	return nil
}

// trial is one probe, on an object of its own.
type trial struct {
	bucket bucket.Bucket
	key    string
}

// conditions fails with ErrConditions when the store does what it must not, and with
// another error when that cannot be told.
func (t trial) conditions(ctx context.Context) error {
	first, err := t.succeeds(ctx, "1", bucket.IfAbsent())
	if err != nil {
		return err
	}
	if err := t.holds(ctx, "1"); err != nil {
		return err
	}
	if err := t.refuses(ctx, "an object that must be absent is replaced", bucket.IfAbsent()); err != nil {
		return err
	}
	second, err := t.succeeds(ctx, "2", bucket.IfMatch(first))
	if err != nil {
		return err
	}
	if err := t.refuses(ctx, "an object is replaced that is not the expected one", bucket.IfMatch(first)); err != nil {
		return err
	}
	if err := t.race(ctx, bucket.IfMatch(second)); err != nil {
		return err
	}
	if err := t.bucket.Delete(ctx, t.key); err != nil {
		return err
	}
	if err := t.refuses(ctx, "an object is created that must be there already", bucket.IfMatch(second)); err != nil {
		return err
	}
	return t.race(ctx, bucket.IfAbsent())
}

// succeeds writes under a condition that holds.
func (t trial) succeeds(ctx context.Context, data string, c bucket.Cond) (etag string, err error) {
	etag, err = t.bucket.Put(ctx, t.key, []byte(data), c)
	if errors.Is(err, bucket.ErrUnsupported) || errors.Is(err, bucket.ErrPrecondition) {
		err = fmt.Errorf("%w: a write whose condition holds is refused: %w", ErrConditions, err)
	}
	return etag, err
}

// refuses writes under a condition that does not hold; lack is what the store does if it
// writes.
func (t trial) refuses(ctx context.Context, lack string, c bucket.Cond) error {
	_, err := t.bucket.Put(ctx, t.key, []byte("refused"), c)
	switch {
	case err == nil:
		return fmt.Errorf("%w: %s", ErrConditions, lack)
	case errors.Is(err, bucket.ErrPrecondition):
		return nil
	}
	return err
}

const racers = 8

// race writes concurrently under a condition that holds for one of the writes.
func (t trial) race(ctx context.Context, c bucket.Cond) error {
	errs := make([]error, racers)
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() { _, errs[i] = t.bucket.Put(ctx, t.key, racer(i), c) })
	}
	all.Wait()
	winner := slices.Index(errs, nil)
	for i, err := range errs {
		switch {
		case err == nil && i != winner:
			return fmt.Errorf("%w: of writes at the same time more than one succeeds", ErrConditions)
		case err == nil, errors.Is(err, bucket.ErrPrecondition), errors.Is(err, bucket.ErrConflict), errors.Is(err, bucket.ErrSlow):
		default:
			return err
		}
	}
	if winner < 0 {
		return fmt.Errorf("of %d writes at the same time none succeeded: %w", racers, errs[0])
	}
	return t.holds(ctx, string(racer(winner)))
}

func racer(i int) []byte { return []byte{'a' + byte(i)} }

// holds reads the object, which must be what was written last.
func (t trial) holds(ctx context.Context, data string) error {
	o, err := t.bucket.Get(ctx, t.key, 0, "")
	if errors.Is(err, bucket.ErrAbsent) {
		return fmt.Errorf("%w: what was written is not there", ErrConditions)
	}
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(o.Body, maxObject))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, []byte(data)) {
		return fmt.Errorf("%w: something else is read than was written last", ErrConditions)
	}
	return nil
}

const removeTime = 10 * time.Second

// remove removes the object, if that is possible, ctx or no ctx.
func (t trial) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	_ = t.bucket.Delete(ctx, t.key)
}

// Package guard leaves a bucket alone that fails: a Bucket over another one, whose
// requests fail at once after some have failed in a row, until one that is let through from
// time to time succeeds.
package guard

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
)

// Hooks report what no request returns. Each may be nil, may be called concurrently, and
// must not block for long.
type Hooks struct {
	Failing   func(err error) // the bucket is left alone for a while
	Recovered func()          // it works again
}

// Bucket is a guarded bucket.Bucket. What is done to it in the background, such as List,
// is always tried. Its methods may be called concurrently.
type Bucket struct {
	bucket.Bucket
	gets   *breaker
	bodies *breaker // of gets: a store that responds and then sends nothing fails, too
	puts   *breaker
}

// New returns a Bucket over next.
func New(next bucket.Bucket, h Hooks) *Bucket {
	return &Bucket{Bucket: next, gets: newBreaker(h), bodies: newBreaker(h), puts: newBreaker(h)}
}

// Failure returns the last failure of the bucket if that is left alone now, or nil.
func (b *Bucket) Failure() error {
	return errors.Join(b.gets.failure(), b.bodies.failure(), b.puts.failure())
}

// Get is of the interface.
func (b *Bucket) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	try, err := b.gets.allow()
	if err != nil {
		return nil, err
	}
	tryBody, err := b.bodies.allow()
	if err != nil {
		b.gets.giveBack(try)
		return nil, err
	}
	var o *bucket.Object
	err = again(ctx, func() (err error) {
		o, err = b.Bucket.Get(ctx, key, from, etag)
		return err
	})
	b.gets.note(ctx, try, err)
	if err != nil {
		b.bodies.giveBack(tryBody)
		return nil, err
	}
	o.Body = &body{o.Body, ctx, b.bodies, tryBody, o.Size - from}
	return o, nil
}

// Put is of the interface.
func (b *Bucket) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	try, err := b.puts.allow()
	if err != nil {
		return "", err
	}
	var etag string
	err = again(ctx, func() (err error) {
		etag, err = b.Bucket.Put(ctx, key, data, c)
		return err
	})
	b.puts.note(ctx, try, err)
	return etag, err
}

const maxRepeats = 4

// again sends a request, and sends it again when the store wants fewer, after 50 to 400 ms at
// random, then up to twice as long, and so on until ctx ends: the store has done nothing, and
// without this each such response would cost a request to the upstream.
func again(ctx context.Context, send func() error) error {
	var slow error
	for repeats := 0; ; repeats++ {
		err := send()
		if slow != nil && ctx.Err() != nil {
			return slow // that is why there was too little time
		}
		if !errors.Is(err, bucket.ErrSlow) || repeats == maxRepeats {
			return err
		}
		slow = err
		if !call.Sleep(ctx, 50*time.Millisecond+rand.N(350*time.Millisecond<<repeats)) {
			return err
		}
	}
}

// Upload is of the interface.
func (b *Bucket) Upload(ctx context.Context, key string, from io.ReaderAt, size int64, c bucket.Cond) error {
	try, err := b.puts.allow()
	if err != nil {
		return err
	}
	err = b.Bucket.Upload(ctx, key, from, size, c)
	b.puts.note(ctx, try, err)
	return err
}

// body is that of an object.
type body struct {
	io.ReadCloser
	ctx     context.Context
	breaker *breaker
	try     try
	left    int64 // bytes
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case err != nil && err != io.EOF:
		b.breaker.note(b.ctx, b.try, err)
		b.try = false
	case b.left <= 0:
		b.breaker.note(b.ctx, b.try, nil)
		b.try = false
	}
	return n, err
}

// Close gives the try back of which nothing was read to its end.
func (b *body) Close() error {
	b.breaker.giveBack(b.try)
	b.try = false
	return b.ReadCloser.Close()
}

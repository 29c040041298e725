package main

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/roster"
)

// silentBucket responds, and its objects cannot be read while it fails.
type silentBucket struct {
	bucket.Bucket
	fails bool
}

func (b *silentBucket) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := b.Bucket.Get(ctx, key, from, etag)
	if err == nil && b.fails {
		o.Body = io.NopCloser(iotest.ErrReader(bucket.ErrTimeout))
	}
	return o, err
}

// A mirror of a fleet without a secret, which no client uses, finds out that objects can be
// read again.
func TestTryBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &silentBucket{Bucket: buckettest.NewMemory()}
		o := &fleetOps{guarded: guard.New(silent, guard.Hooks{}), self: roster.Member{Node: "a", Boot: "b"}}
		check(t, o.tryBucket())
		silent.fails = true
		for range 10 {
			if object, err := o.guarded.Get(t.Context(), keys.Node("a", "b"), 0, ""); err == nil {
				_, _ = io.ReadAll(object.Body)
				_ = object.Body.Close()
			}
			time.Sleep(time.Second / 4)
		}
		if o.tryBucket() == nil {
			t.Fatal("the bucket works, though nothing can be read")
		}
		silent.fails = false
		time.Sleep(time.Minute)
		check(t, o.tryBucket())
	})
}

// Reads and writes of a bucket fail apart: it works again once both do.
func TestOutage(t *testing.T) {
	var o outage
	if o.now() != nil {
		t.Errorf("at first: %v", o.now())
	}
	o.begin(errors.New("reads"))
	since := o.now().Since
	o.begin(errors.New("writes"))
	o.end()
	if now := o.now(); now == nil || now.Error != "writes" || now.Since != since {
		t.Errorf("while one of them fails: %+v", now)
	}
	o.end()
	if o.now() != nil {
		t.Errorf("at last: %v", o.now())
	}
}

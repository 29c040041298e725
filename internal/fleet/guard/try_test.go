package guard_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
)

// TestTryThatTellsNothing finds that the bucket is tried again at once after a try of which
// nothing was read, and not a pause later.
func TestTryThatTellsNothing(t *testing.T) {
	for name, empty := range map[string]func(ctx context.Context, b bucket.Bucket) error{
		"no such object": func(ctx context.Context, b bucket.Bucket) error { return read(ctx, b, "b") },
		"closed unread": func(ctx context.Context, b bucket.Bucket) error {
			o, err := b.Get(ctx, "a", 0, "")
			if err != nil {
				return err
			}
			return errors.Join(o.Body.Close(), bucket.ErrAbsent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := buckettest.NewMemory()
				if _, err := memory.Put(t.Context(), "a", []byte(strings.Repeat("a", 100)), bucket.Cond{}); err != nil {
					t.Fatal(err)
				}
				var stalls atomic.Bool
				stalls.Store(true)
				b := guard.New(sometimes{memory, stalling{memory}, &stalls}, guard.Hooks{})
				for range 5 {
					if err := read(t.Context(), b, "a"); !errors.Is(err, bucket.ErrTimeout) {
						t.Fatal(err)
					}
				}
				stalls.Store(false)
				time.Sleep(5 * time.Second)
				for range 3 {
					if err := empty(t.Context(), b); !errors.Is(err, bucket.ErrAbsent) {
						t.Errorf("left alone: %v", err)
					}
				}
				if b.Failure() == nil {
					t.Error("works again although nothing was read")
				}
				if err := read(t.Context(), b, "a"); err != nil || b.Failure() != nil {
					t.Errorf("read: %v; %v", err, b.Failure())
				}
			})
		})
	}
}

// sometimes is a Bucket that stalls or not.
type sometimes struct {
	bucket.Bucket
	stalling bucket.Bucket
	stalls   *atomic.Bool
}

func (s sometimes) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	if s.stalls.Load() {
		return s.stalling.Get(ctx, key, from, etag)
	}
	return s.Bucket.Get(ctx, key, from, etag)
}

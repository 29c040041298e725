package guard_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract finds that a guarded Bucket is one.
func TestContract(t *testing.T) {
	buckettest.Run(t, buckettest.Options{Virtual: true, New: func(*testing.T) bucket.Bucket {
		return guard.New(buckettest.NewMemory(), guard.Hooks{})
	}})
}

// read reads an object as long as its caller waits for it.
func read(ctx context.Context, b bucket.Bucket, key string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Second, bucket.ErrTimeout)
	defer cancel()
	o, err := b.Get(ctx, key, 0, "")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, o.Body)
	return errors.Join(err, o.Body.Close())
}

// TestSlow finds that a bucket that hangs is waited for five times, and is left alone then
// until it works again.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := buckettest.NewMemory()
		var failing, recovered int
		b := guard.New(memory, guard.Hooks{Failing: func(error) { failing++ }, Recovered: func() { recovered++ }})
		var hangs atomic.Bool
		hangs.Store(true)
		memory.Faults = func(buckettest.Op, string) buckettest.Fault {
			if hangs.Load() {
				return buckettest.Fault{Before: time.Hour}
			}
			return buckettest.Fault{}
		}
		begun := time.Now()
		for range 20 {
			if err := read(t.Context(), b, "a"); !errors.Is(err, bucket.ErrTimeout) {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("20 reads took %v, want 5 times 2 s", took)
		}
		if failing != 1 || recovered != 0 || b.Failure() == nil {
			t.Errorf("reported as failing %d times, as recovered %d times; %v", failing, recovered, b.Failure())
		}
		hangs.Store(false)
		if err := read(t.Context(), b, "a"); !errors.Is(err, bucket.ErrTimeout) {
			t.Errorf("not left alone: %v", err)
		}
		time.Sleep(5 * time.Second)
		for range 2 {
			if err := read(t.Context(), b, "a"); !errors.Is(err, bucket.ErrAbsent) {
				t.Errorf("does not recover: %v", err)
			}
		}
		if failing != 1 || recovered != 1 || b.Failure() != nil {
			t.Errorf("reported as failing %d times, as recovered %d times; %v", failing, recovered, b.Failure())
		}
	})
}

// TestTogether finds that requests that fail at the same time leave the bucket alone for no
// longer than one after the other, and that each try that fails doubles that.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := buckettest.NewMemory()
		memory.Faults = func(buckettest.Op, string) buckettest.Fault {
			return buckettest.Fault{Before: time.Second, Err: bucket.ErrSlow}
		}
		b := guard.New(memory, guard.Hooks{})
		together := func() (tried bool) {
			begun := time.Now()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() { _ = read(t.Context(), b, "a") })
			}
			all.Wait()
			return time.Since(begun) > 0
		}
		together()
		together()
		for _, pause := range []time.Duration{5, 10, 20, 40, 60, 60} {
			time.Sleep(pause*time.Second - time.Second)
			if together() {
				t.Errorf("tried again before %d s", pause)
			}
			time.Sleep(time.Second)
			if !together() {
				t.Errorf("not tried again after %d s", pause)
			}
		}
	})
}

// TestStalls finds that a bucket whose objects stall after their header is left alone, too,
// although it responds, and that a caller that gives up says nothing.
func TestStalls(t *testing.T) {
	for name, test := range map[string]struct {
		cause  error
		leaves bool
	}{
		"no byte in time":    {bucket.ErrTimeout, true},
		"the client is gone": {context.Canceled, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := buckettest.NewMemory()
				if _, err := memory.Put(t.Context(), "a", []byte(strings.Repeat("a", 100)), bucket.Cond{}); err != nil {
					t.Fatal(err)
				}
				b := guard.New(stalling{memory}, guard.Hooks{})
				for range 5 {
					ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, test.cause)
					o, err := b.Get(ctx, "a", 0, "")
					if err != nil {
						t.Fatal(err)
					}
					_, err = io.ReadAll(o.Body)
					if !errors.Is(err, test.cause) {
						t.Error(err)
					}
					_ = o.Body.Close()
					cancel()
				}
				if left := b.Failure() != nil; left != test.leaves {
					t.Errorf("left alone: %v, want %v", left, test.leaves)
				}
			})
		})
	}
}

// stalling is a Bucket whose objects stall until their context ends.
type stalling struct{ bucket.Bucket }

func (b stalling) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := b.Bucket.Get(ctx, key, from, etag)
	if err == nil {
		o.Body = io.NopCloser(stalled{ctx})
	}
	return o, err
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

// TestFewer finds that a request is sent again when the store wants fewer, four times at the most,
// and that nothing else is repeated.
func TestFewer(t *testing.T) {
	for name, test := range map[string]struct {
		refused int
		err     error
		want    error
		sent    int
	}{
		"once":     {1, bucket.ErrSlow, nil, 2},
		"always":   {100, bucket.ErrSlow, bucket.ErrSlow, 5},
		"it fails": {100, bucket.ErrDenied, bucket.ErrDenied, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for op, request := range map[buckettest.Op]func(b bucket.Bucket) error{
					buckettest.Get: func(b bucket.Bucket) error { _, err := b.Get(t.Context(), "a", 0, ""); return err },
					buckettest.Put: func(b bucket.Bucket) error {
						_, err := b.Put(t.Context(), "a", []byte("new"), bucket.Cond{})
						return err
					},
				} {
					memory := buckettest.NewMemory()
					if _, err := memory.Put(t.Context(), "a", []byte("old"), bucket.Cond{}); err != nil {
						t.Fatal(err)
					}
					var sent atomic.Int32
					memory.Faults = func(buckettest.Op, string) buckettest.Fault {
						if int(sent.Add(1)) <= test.refused {
							return buckettest.Fault{Err: test.err}
						}
						return buckettest.Fault{}
					}
					begun := time.Now()
					if err := request(guard.New(memory, guard.Hooks{})); !errors.Is(err, test.want) || int(sent.Load()) != test.sent {
						t.Errorf("%s: %d requests, %v; want %d, %v", op, sent.Load(), err, test.sent, test.want)
					}
					if took := time.Since(begun); took > 6*time.Second {
						t.Errorf("%s: took %v", op, took)
					}
				}
			})
		})
	}
}

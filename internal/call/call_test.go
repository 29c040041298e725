package call

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

func end(r *Runner) {
	r.Stop()
	r.Wait()
}

// All callers of one key share one call; what runs after it comes last.
func TestCallersShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner := NewRunner()
		g := NewGroup[string, int](runner)
		var calls, joined, finished atomic.Int32
		fn := func(context.Context) (int, error) {
			<-time.After(time.Second)
			return int(calls.Add(1)), nil
		}
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				c, joining := g.DoThen("key", fn, func() { <-time.After(time.Second); finished.Add(1) })
				if joining {
					joined.Add(1)
				}
				if n, err := c.Wait(t.Context(), Endless); n != 1 || err != nil || finished.Load() != 0 {
					t.Errorf("result %d, %v", n, err)
				}
			})
		}
		callers.Wait()
		end(runner)
		if calls.Load() != 1 || joined.Load() != 99 || finished.Load() != 1 {
			t.Errorf("%d calls, %d joined, %d finished", calls.Load(), joined.Load(), finished.Load())
		}
	})
}

// A caller under the lock that fn takes finds the new state, or the call.
func TestStateOrCall(t *testing.T) {
	runner := NewRunner()
	g := NewGroup[string, struct{}](runner)
	var mu sync.Mutex
	known, calls := false, 0
	fn := func(context.Context) (struct{}, error) {
		mu.Lock()
		defer mu.Unlock()
		known = true
		calls++
		return struct{}{}, nil
	}
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			if known {
				return
			}
			g.Do("key", fn)
		})
	}
	callers.Wait()
	end(runner)
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}

// A call ends with its Runner, and none starts afterwards.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner := NewRunner()
		g := NewGroup[string, int](runner)
		untilEnd := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		c, _ := g.Do("key", untilEnd)
		end(runner)
		if _, err := c.Wait(t.Context(), Endless); !errors.Is(err, context.Canceled) {
			t.Errorf("the call: %v", err)
		}
		late, joined := g.Do("key", untilEnd)
		if _, err := late.Wait(t.Context(), Endless); joined || !errors.Is(err, ErrShutdown) {
			t.Errorf("the call after the end: %v", err)
		}
		if runner.Go(func() { t.Error("it runs after the end") }) || !runner.Stopped() {
			t.Error("a goroutine was started after the end")
		}
	})
}

// Work in a caller's goroutine is waited for, too.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner := NewRunner()
		done, ok := runner.Hold()
		if !ok {
			t.Fatal("refused before the end")
		}
		started := time.Now()
		time.AfterFunc(time.Second, done)
		end(runner)
		if took := time.Since(started); took != time.Second {
			t.Errorf("waited for %s", took)
		}
		if _, ok := runner.Hold(); ok {
			t.Error("held after the end")
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner := NewRunner()
		g := NewGroup[string, int](runner)
		c, _ := g.Do("key", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		started := time.Now()
		if _, err := c.Wait(t.Context(), Endless); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != Timeout {
			t.Errorf("%v after %s", err, time.Since(started))
		}
	})
}

// Silence ends a wait, progress prolongs it up to 10 s, and Endless waits for all.
func TestSilence(t *testing.T) {
	for _, test := range []struct {
		steps   int
		step    time.Duration
		silence time.Duration
		err     error
		took    time.Duration
	}{
		{3, time.Second, 1500 * time.Millisecond, nil, 3 * time.Second},
		{3, 2 * time.Second, 1500 * time.Millisecond, ErrSilent, 1500 * time.Millisecond},
		{15, time.Second, 1500 * time.Millisecond, ErrSilent, maxWait},
		{15, time.Second, Endless, nil, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			runner := NewRunner()
			g := NewGroup[string, int](runner)
			c, _ := g.Do("key", func(ctx context.Context) (int, error) {
				for range test.steps {
					<-time.After(test.step)
					oci.Progress(ctx)()
				}
				return 1, nil
			})
			started := time.Now()
			_, err := c.Wait(t.Context(), test.silence)
			if took := time.Since(started); !errors.Is(err, test.err) || took != test.took {
				t.Errorf("%+v: %v after %s", test, err, took)
			}
			end(runner)
		})
	}
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner := NewRunner()
		g := NewGroup[string, int](runner)
		c, _ := g.Do("key", func(context.Context) (int, error) { <-time.After(time.Second); return 1, nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Wait(ctx, Endless); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller that leaves: %v", err)
		}
		if n, err := c.Wait(t.Context(), Endless); n != 1 || err != nil {
			t.Errorf("the caller that stays: %d, %v", n, err)
		}
	})
}

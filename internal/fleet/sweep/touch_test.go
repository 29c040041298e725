package sweep

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
)

// used is what a mirror serves from its disk, all the time.
func used(keys ...string) func(time.Time) iter.Seq2[string, int64] {
	all := make(map[string]int64)
	for _, key := range keys {
		all[key] = 10
	}
	return func(time.Time) iter.Seq2[string, int64] { return maps.All(all) }
}

func able() bool { return true }

// runToucher runs t until the test ends.
func runToucher(t *testing.T, o TouchOptions) *Toucher {
	toucher := NewToucher(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- toucher.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return toucher
}

func agesOf(t *testing.T, m *buckettest.Memory) map[string]time.Duration {
	t.Helper()
	ages := make(map[string]time.Duration)
	for info, err := range m.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		ages[info.Key] = info.Age
	}
	return ages
}

// TestUsed finds that what is served from the disk never gets old, at the cost of few
// requests, and that a daily sweep removes only the rest.
func TestUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		put(t, m, "v1/pub/b/sha256/00", "v1/pub/b/sha256/01", "v1/pub/b/sha256/02")
		runToucher(t, TouchOptions{Bucket: m, MaxAge: maxAge, Able: able, Used: used("v1/pub/b/sha256/00", "v1/pub/b/sha256/01", "v1/pub/b/sha256/private")})
		for range 100 {
			time.Sleep(day)
			if _, err := Run(t.Context(), Options{Bucket: m, MaxAge: maxAge}); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"v1/pub/b/sha256/00", "v1/pub/b/sha256/01"}; !slices.Equal(keysOf(t, m), want) {
			t.Errorf("left %q, want %q", keysOf(t, m), want)
		}
		for key, age := range agesOf(t, m) {
			if age > maxAge/2+2*day {
				t.Errorf("%s is %v old", key, age)
			}
		}
		counts := m.Counts()
		if counts[buckettest.Touch] != 12 { // in 100 days each six times
			t.Errorf("%d touches", counts[buckettest.Touch])
		}
		if most := 100 + 2*3*7; counts[buckettest.Get] > most { // the private one is looked for each day
			t.Errorf("%d gets, want %d at the most", counts[buckettest.Get], most)
		}
	})
}

// TestRead finds that an old object that is read is touched once, and a young one is not.
func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		put(t, m, "v1/pub/b/sha256/00")
		toucher := runToucher(t, TouchOptions{Bucket: m, MaxAge: maxAge, Able: able, Used: used()})
		read := func() {
			for range 10 {
				o, err := toucher.Watch(m).Get(t.Context(), "v1/pub/b/sha256/00", 0, "")
				if err != nil {
					t.Fatal(err)
				}
				_ = o.Body.Close()
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(maxAge / 2)
		read()
		if n := m.Counts()[buckettest.Touch]; n != 0 {
			t.Errorf("%d touches at half the age", n)
		}
		read()
		read()
		if n := m.Counts()[buckettest.Touch]; n != 1 {
			t.Errorf("%d touches, want 1", n)
		}
	})
}

// TestUnable finds that a store which cannot touch is not asked for anything.
func TestUnable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		toucher := runToucher(t, TouchOptions{Bucket: m, MaxAge: maxAge, Able: func() bool { return false }, Used: used("key")})
		toucher.note(bucket.Info{Key: "v1/pub/b/sha256/00", Age: maxAge})
		time.Sleep(10 * day)
		if counts := m.Counts(); len(counts) != 0 {
			t.Errorf("requests %v", counts)
		}
	})
}

// TestTouchFails finds that a bucket that fails is asked once a minute, and that all is
// touched once it works.
func TestTouchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		keys := []string{"v1/pub/b/sha256/00", "v1/pub/b/sha256/01", "v1/pub/b/sha256/02"}
		put(t, m, keys...)
		time.Sleep(maxAge)
		var fails atomic.Bool
		fails.Store(true)
		m.Faults = func(buckettest.Op, string) (f buckettest.Fault) {
			if fails.Load() {
				f.Err = errors.New("broken")
			}
			return f
		}
		toucher := runToucher(t, TouchOptions{Bucket: m, MaxAge: maxAge, Able: able, Used: used(keys...)})
		for i := range 3 * maxPending {
			toucher.note(bucket.Info{Key: fmt.Sprintf("v1/pub/b/sha256/x%d", i), Age: maxAge})
		}
		time.Sleep(afterStart + spread + 10*time.Minute)
		if n := m.Counts()[buckettest.Get]; n > 100 {
			t.Errorf("%d gets", n)
		}
		fails.Store(false)
		time.Sleep(day + spread)
		for key, age := range agesOf(t, m) {
			if age > day+spread {
				t.Errorf("%s is %v old", key, age)
			}
		}
	})
}

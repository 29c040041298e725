package sweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const maxAge = 30 * day

// put writes objects of ten bytes.
func put(t *testing.T, m *buckettest.Memory, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if _, err := m.Put(t.Context(), key, []byte("0123456789"), bucket.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
}

func keysOf(t *testing.T, m *buckettest.Memory) []string {
	t.Helper()
	keys := []string{}
	for info, err := range m.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

var one = []string{"v1/fleet", "v1/n/a/b", "v1/probe/x", "v1/pub/b/sha256/00", "v1/pub/l/sha256/00", "v1/pub/t/00", "v1/q/00", "v2/unknown"}

// TestAges finds that each kind of object is removed at its age, and not before.
func TestAges(t *testing.T) {
	for _, test := range []struct {
		age     time.Duration
		removed []string
	}{
		{time.Hour, nil},
		{time.Hour + time.Second, []string{"v1/n/a/b", "v1/probe/x"}},
		{day, []string{"v1/n/a/b", "v1/probe/x"}},
		{day + time.Second, []string{"v1/n/a/b", "v1/probe/x", "v1/pub/l/sha256/00"}},
		{7*day + time.Second, []string{"v1/n/a/b", "v1/probe/x", "v1/pub/l/sha256/00", "v1/q/00"}},
		{maxAge + day, []string{"v1/n/a/b", "v1/probe/x", "v1/pub/l/sha256/00", "v1/q/00"}},
		{maxAge + day + time.Second, []string{"v1/n/a/b", "v1/probe/x", "v1/pub/b/sha256/00", "v1/pub/l/sha256/00", "v1/pub/t/00", "v1/q/00"}},
	} {
		t.Run(test.age.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := buckettest.NewMemory()
				put(t, m, one...)
				time.Sleep(test.age)
				put(t, m, "v1/pub/b/sha256/new")
				for _, dryRun := range []bool{true, false} {
					r, err := Run(t.Context(), Options{Bucket: m, MaxAge: maxAge, DryRun: dryRun})
					if err != nil {
						t.Fatal(err)
					}
					if r.Objects != 9 || r.Bytes != 90 || r.Unknown != 1 || r.Total() != len(test.removed) || r.Freed != int64(10*len(test.removed)) {
						t.Errorf("dry run %v: %+v", dryRun, r)
					}
					if dryRun && len(keysOf(t, m)) != 9 {
						t.Errorf("a dry run left %q", keysOf(t, m))
					}
				}
				want := slices.DeleteFunc(append(slices.Clone(one), "v1/pub/b/sha256/new"), func(key string) bool { return slices.Contains(test.removed, key) })
				slices.Sort(want)
				if diff := cmp.Diff(want, keysOf(t, m)); diff != "" {
					t.Errorf("left (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func fill(t *testing.T, n int) *buckettest.Memory {
	t.Helper()
	m := buckettest.NewMemory()
	for i := range n {
		put(t, m, fmt.Sprintf("v1/pub/b/sha256/%04d", i))
	}
	time.Sleep(maxAge + 2*day)
	return m
}

// TestFailures finds that objects which cannot be removed are counted, and that a store
// that refuses all is not asked for each.
func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		fault   func(n int) error // of the nth delete
		fails   bool
		deletes int // at the most
		failed  int // at the least
	}{
		"some":    {func(n int) error { return map[bool]error{true: broken}[n%10 == 0] }, false, 500, 50},
		"all":     {func(int) error { return broken }, true, maxFailed + deletesAtOnce, maxFailed},
		"refused": {func(int) error { return bucket.ErrDenied }, true, 2 * deletesAtOnce, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := fill(t, 500)
				deletes := make(chan int, 1)
				deletes <- 0
				m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
					if op == buckettest.Delete {
						n := <-deletes + 1
						deletes <- n
						f.Err = test.fault(n)
					}
					return f
				}
				r, err := Run(t.Context(), Options{Bucket: m, MaxAge: maxAge})
				if (err != nil) != test.fails || r.Failed < test.failed || r.Problem == "" {
					t.Errorf("%+v, %v", r, err)
				}
				if n := m.Counts()[buckettest.Delete]; n > test.deletes {
					t.Errorf("%d deletes", n)
				}
				if r.Total()+r.Failed != r.Objects && !test.fails {
					t.Errorf("%+v does not add up", r)
				}
			})
		})
	}
}

// TestStopped finds that what was done until ctx ended is told, and that progress is told
// about each second.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fill(t, 1000)
		m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
			if op == buckettest.Delete {
				f.Before = 100 * time.Millisecond
			}
			return f
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5050*time.Millisecond)
		defer cancel()
		var told []int
		r, err := Run(ctx, Options{Bucket: m, MaxAge: maxAge, Progress: func(r Result) { told = append(told, r.Total()) }})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if want := deletesAtOnce * 50; r.Total() != want || len(keysOf(t, m)) != 1000-want {
			t.Errorf("removed %d, left %d, want %d removed", r.Total(), len(keysOf(t, m)), want)
		}
		if len(told) < 4 || len(told) > 5 || !slices.IsSorted(told) {
			t.Errorf("told %v", told)
		}
	})
}

// TestListFails finds that nothing is removed that was not listed, and the error returned.
func TestListFails(t *testing.T) {
	broken := errors.New("broken")
	m := buckettest.NewMemory()
	m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
		if op == buckettest.List {
			f.Err = broken
		}
		return f
	}
	r, err := Run(t.Context(), Options{Bucket: m, MaxAge: maxAge})
	if !errors.Is(err, broken) || r.Total() != 0 || len(slices.Collect(maps.Keys(r.Removed))) != len(kinds) {
		t.Errorf("%+v, %v", r, err)
	}
}

// sweepless is a Bucket whose store fails to list the remains of uploads.
type sweepless struct {
	*buckettest.Memory
	err error
}

func (b sweepless) Sweep(context.Context, time.Duration) error { return b.err }

// TestUploadsNotListed finds that a store which cannot list uploads is swept all the same,
// and that another failure to do so is told.
func TestUploadsNotListed(t *testing.T) {
	broken := errors.New("broken")
	for err, want := range map[error]error{fmt.Errorf("sweep: %w", bucket.ErrUnsupported): nil, broken: broken} {
		if _, got := Run(t.Context(), Options{Bucket: sweepless{buckettest.NewMemory(), err}, MaxAge: maxAge}); !errors.Is(got, want) {
			t.Errorf("%v: error %v, want %v", err, got, want)
		}
	}
}

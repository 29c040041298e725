package roster

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a Beacon; stop ends it.
func start(t *testing.T, b Beacon) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	synctest.Wait()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func list(t *testing.T, m *buckettest.Memory) []Member {
	t.Helper()
	all, err := List(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestBeacon finds that a mirror is seen while it runs and for an hour, and that one which
// has ended is told apart from one that was killed.
func TestBeacon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		one := Member{Node: "one", Boot: "b1", Address: "10.0.0.1:5002", Version: "v1.2.3"}
		other := Member{Node: "other", Boot: "b2", Version: "v1.2.4"}
		stopOne, stopOther := start(t, Beacon{Bucket: m, Self: one}), start(t, Beacon{Bucket: m, Self: other})
		if diff := cmp.Diff([]Member{one, other}, list(t, m)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Hour + 2*time.Minute)
		one.Seen, other.Seen = 2*time.Minute, 2*time.Minute
		if diff := cmp.Diff([]Member{one, other}, list(t, m)); diff != "" {
			t.Error(diff)
		}
		if n := m.Counts()[buckettest.Put]; n != 2*13 {
			t.Errorf("%d puts in an hour, want one each five minutes", n)
		}
		stopOne()
		one.Seen, one.Stopped = 0, true
		if diff := cmp.Diff([]Member{one, other}, list(t, m)); diff != "" {
			t.Error(diff)
		}
		stopOther()
		time.Sleep(Remembered + time.Second)
		if all := list(t, m); len(all) != 0 {
			t.Errorf("listed after an hour: %v", all)
		}
	})
}

// TestFailing finds that a bucket which fails is reported once, tried again within half a
// minute, and holds up no end.
func TestFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		broken := errors.New("broken")
		var fails atomic.Bool
		fails.Store(true)
		m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
			if fails.Load() && op == buckettest.Put {
				f = buckettest.Fault{Before: time.Hour, Err: broken}
			}
			return f
		}
		var reported atomic.Int32
		stop := start(t, Beacon{Bucket: m, Self: Member{Node: "one", Boot: "b1"}, Failed: func(error) { reported.Add(1) }})
		time.Sleep(10 * time.Minute)
		fails.Store(false)
		time.Sleep(retryAfter + requestTime)
		synctest.Wait()
		if all := list(t, m); len(all) != 1 || reported.Load() != 1 {
			t.Errorf("listed %v, reported %d times", all, reported.Load())
		}
		fails.Store(true)
		time.Sleep(every + requestTime)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > requestTime {
			t.Errorf("ended after %v", took)
		}
	})
}

// TestTwice finds that two mirrors with one name are told apart, and that one that was
// started again is not two.
func TestTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		twice := func() (n int) {
			all := list(t, m)
			for _, one := range all {
				if one.Twice(all) {
					n++
				}
			}
			return n
		}
		stop := start(t, Beacon{Bucket: m, Self: Member{Node: "same", Boot: "b1"}})
		stop()
		stopSecond := start(t, Beacon{Bucket: m, Self: Member{Node: "same", Boot: "b2"}})
		stopOther := start(t, Beacon{Bucket: m, Self: Member{Node: "other", Boot: "b2"}})
		if n := twice(); n != 0 {
			t.Errorf("%d seem to be there twice after a restart", n)
		}
		stopThird := start(t, Beacon{Bucket: m, Self: Member{Node: "same", Boot: "b3"}})
		if n := twice(); n != 2 {
			t.Errorf("%d are there twice, want 2: %v", n, list(t, m))
		}
		stopSecond()
		if n := twice(); n != 0 {
			t.Errorf("%d seem to be there twice after one has ended", n)
		}
		stopThird()
		stopOther()
	})
}

// TestLatest finds that processes that have ended are not listed once there is a later one,
// and that two that run with one name both are.
func TestLatest(t *testing.T) {
	all := []Member{
		{Node: "down", Boot: "last", Stopped: true, Seen: 10 * time.Minute},
		{Node: "down", Boot: "before", Stopped: true, Seen: 20 * time.Minute},
		{Node: "killed", Boot: "last", Seen: 10 * time.Minute},
		{Node: "killed", Boot: "before", Seen: 20 * time.Minute},
		{Node: "restarted", Boot: "before", Stopped: true, Seen: time.Second},
		{Node: "restarted", Boot: "now", Seen: time.Minute},
		{Node: "restarted", Boot: "killed", Seen: 10 * time.Minute},
		{Node: "twice", Boot: "one", Seen: time.Second},
		{Node: "twice", Boot: "ended", Stopped: true, Seen: 2 * time.Second},
		{Node: "twice", Boot: "other", Seen: 3 * time.Second},
	}
	var got []string
	for _, m := range Latest(all) {
		got = append(got, m.Node+" "+m.Boot)
	}
	if diff := cmp.Diff([]string{"down last", "killed last", "restarted now", "twice one", "twice other"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestHostile finds that objects which no mirror has written do no harm.
func TestHostile(t *testing.T) {
	m := buckettest.NewMemory()
	for key, content := range map[string]string{
		"v1/n/nobody":      "{}",
		"v1/n/empty/b":     "",
		"v1/n/html/b":      "<html>",
		"v1/n/large/b":     `{"v":1,"version":"` + strings.Repeat("x", 2*maxCard) + `"}`,
		"v1/n/newer/b":     `{"v":2,"addr":"10.0.0.2:1","version":"v9","more":[1]}`,
		"v1/n/deep/b/more": `{"v":1}`,
	} {
		if _, err := m.Put(t.Context(), key, []byte(content), bucket.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
	want := []Member{
		{Node: "deep", Boot: "b/more"}, {Node: "empty", Boot: "b"}, {Node: "html", Boot: "b"}, {Node: "large", Boot: "b"},
		{Node: "newer", Boot: "b", Address: "10.0.0.2:1", Version: "v9"},
	}
	got := list(t, m)
	for i := range got {
		got[i].Seen = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

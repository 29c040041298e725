package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken by the test")

// journal records what the hooks report.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) hooks() Hooks {
	note := func(format string, args ...any) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.entries = append(j.entries, fmt.Sprintf(format, args...))
	}
	return Hooks{
		Degraded:  func(c Component, err error) { note("%s degraded: %v", c, err) },
		Recovered: func(c Component) { note("%s recovered", c) },
	}
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.entries, want) {
		t.Errorf("reported %q, want %q", j.entries, want)
	}
}

// run runs m until the test ends.
func run(t *testing.T, m *Monitor) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// switchable is a retry that fails while on.
type switchable struct {
	mu    sync.Mutex
	on    bool
	calls int
}

func (s *switchable) set(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

func (s *switchable) retry() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.on {
		return errBroken
	}
	return nil
}

// A failure is reported once, and the recovery when every retry has succeeded.
func TestReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		m := New(j.hooks())
		blobs, tags, other := &switchable{on: true}, &switchable{on: true}, new(switchable)
		m.OnRetry(Index, blobs.retry)
		m.OnRetry(Index, tags.retry)
		m.OnRetry(Disk, other.retry)
		run(t, m)
		for range 3 {
			m.Fail(Index, errBroken)
		}
		if !m.Failing(Index) || m.Failing(Disk) || m.Degraded()[Index] != errBroken || len(m.Degraded()) != 1 {
			t.Errorf("degraded: %v", m.Degraded())
		}
		<-time.After(time.Minute)
		blobs.set(false)
		<-time.After(time.Minute)
		j.want(t, "index degraded: broken by the test")
		tags.set(false)
		<-time.After(retryEvery)
		synctest.Wait()
		j.want(t, "index degraded: broken by the test", "index recovered")
		if m.Failing(Index) || other.calls > 0 {
			t.Errorf("degraded: %v; the disk, which works, was retried %d times", m.Degraded(), other.calls)
		}
		calls := blobs.calls
		<-time.After(time.Minute)
		synctest.Wait()
		if blobs.calls != calls {
			t.Error("what works is retried")
		}
	})
}

// A failure during a round may have come after its own retry: the round does not
// count.
func TestFailureDuringARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		m := New(j.hooks())
		again := true
		m.OnRetry(Disk, func() error {
			if again {
				m.Fail(Disk, errBroken)
			}
			again = false
			return nil
		})
		run(t, m)
		m.Fail(Disk, errBroken)
		<-time.After(retryEvery + time.Second)
		if !m.Failing(Disk) {
			t.Error("recovered, though it failed during the round")
		}
		<-time.After(retryEvery)
		j.want(t, "disk degraded: broken by the test", "disk recovered")
	})
}

// Ticks come after the retries, also while nothing is degraded.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Hooks{})
		var failing []bool
		m.OnRetry(Disk, func() error { return nil })
		m.OnTick(func() { failing = append(failing, m.Failing(Disk)) })
		run(t, m)
		m.Fail(Disk, errBroken)
		<-time.After(2*retryEvery + time.Second)
		synctest.Wait()
		if !slices.Equal(failing, []bool{false, false}) {
			t.Errorf("failing at the ticks: %v", failing)
		}
	})
}

// Hooks and retries may call back.
func TestNoLockHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Monitor
		m = New(Hooks{
			Degraded:  func(c Component, _ error) { m.Failing(c) },
			Recovered: func(Component) { m.Degraded() },
		})
		m.OnRetry(Index, func() error { m.OnTick(func() {}); return nil })
		run(t, m)
		m.Fail(Index, errBroken)
		<-time.After(retryEvery + time.Second)
		if m.Failing(Index) {
			t.Error("it has not recovered")
		}
	})
}

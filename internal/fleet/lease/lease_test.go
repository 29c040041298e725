package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/oci"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var digest = oci.FromBytes([]byte("what all of them want"))

// fleet is mirrors on one bucket, in virtual time.
type fleet struct {
	*testing.T
	memory *buckettest.Memory
	secret string
	nodes  []*node
}

type node struct {
	*lease.Leases
	kill func() // the process is gone: nothing is written any more
}

// run runs a test in virtual time.
func run(t *testing.T, nodes int, test func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{T: t, memory: buckettest.NewMemory(), secret: "the secret that the fleet has"}
		for i := range nodes {
			f.add(fmt.Sprint("node", i))
		}
		test(f)
	})
}

// add adds a mirror, which runs until the end of the test.
func (f *fleet) add(name string) *node {
	secret, err := keys.ReadSecret(strings.NewReader(f.secret))
	if err != nil {
		f.Fatal(err)
	}
	cut := &mortal{Bucket: f.memory}
	n := &node{
		Leases: lease.New(lease.Options{Bucket: cut, Secret: secret, Self: lease.Self{Node: name, Boot: lease.NewBoot(), Addr: name + ":5003"}}),
		kill:   func() { cut.mu.Lock(); cut.dead = true; cut.mu.Unlock() },
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	f.Cleanup(func() { stop(); running.Wait() })
	f.nodes = append(f.nodes, n)
	return n
}

// mortal is the bucket as a process sees it that may be killed.
type mortal struct {
	bucket.Bucket
	mu   sync.Mutex
	dead bool
}

func (m *mortal) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return "", errors.New("killed")
	}
	return m.Bucket.Put(ctx, key, data, c)
}

// acquire wants the mirror to become what role says: holder, waiter or alone.
func (f *fleet) acquire(n *node, role string) (*lease.Lease, *lease.Seen) {
	f.Helper()
	held, seen := n.Acquire(f.Context(), digest)
	f.wantRole(held, seen, role)
	return held, seen
}

func (f *fleet) wantRole(held *lease.Lease, seen *lease.Seen, want string) {
	f.Helper()
	got := "alone"
	if held != nil {
		got = "holder"
	} else if seen != nil {
		got = "waiter"
	}
	if got != want {
		f.Errorf("is %s, want %s", got, want)
	}
}

// TestOneHolder finds that of many who ask at the same time one holds the lease, and the
// others know where it is.
func TestOneHolder(t *testing.T) {
	run(t, 50, func(f *fleet) {
		var mu sync.Mutex
		var holders, waiters int
		var all sync.WaitGroup
		for _, n := range f.nodes {
			all.Go(func() {
				held, seen := n.Acquire(f.Context(), digest)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case held != nil:
					holders++
				case seen != nil && strings.HasSuffix(seen.Addr, ":5003") && !seen.Over():
					waiters++
				}
			})
		}
		all.Wait()
		if holders != 1 || waiters != 49 {
			f.Errorf("%d hold it, %d wait", holders, waiters)
		}
	})
}

// TestRenewed finds that a lease lasts for as long as its holder lives, tells how far that
// is, and can be had ten seconds after its death.
func TestRenewed(t *testing.T) {
	run(t, 2, func(f *fleet) {
		held, _ := f.acquire(f.nodes[0], "holder")
		held.Progress(7, 100)
		time.Sleep(time.Minute)
		_, seen := f.acquire(f.nodes[1], "waiter")
		if seen.Have != 7 || seen.Size != 100 || seen.State != lease.Filling {
			f.Errorf("seen: %+v", seen)
		}
		if n := len(f.nodes[0].Held()); n != 1 {
			f.Errorf("it says that it holds %d", n)
		}
		f.nodes[0].kill()
		time.Sleep(7 * time.Second)
		if _, seen = f.acquire(f.nodes[1], "waiter"); seen.Over() {
			f.Error("over too early")
		}
		time.Sleep(6 * time.Second)
		if !seen.Over() {
			f.Error("not over 12 s after the last renewal")
		}
		f.acquire(f.nodes[1], "holder")
		if n := len(f.nodes[0].Held()); n != 0 {
			f.Errorf("the dead one says that it holds %d", n)
		}
	})
}

// TestWatched finds that who watches a lease that does not change takes it over ten seconds
// on, whatever the store says of its age.
func TestWatched(t *testing.T) {
	run(t, 2, func(f *fleet) {
		f.acquire(f.nodes[0], "holder")
		f.nodes[0].kill()
		_, seen := f.acquire(f.nodes[1], "waiter")
		for range 9 {
			time.Sleep(time.Second)
			now, err := f.nodes[1].Watch(f.Context(), seen)
			if err != nil {
				f.Fatal(err)
			}
			seen = now
			if seen.Over() {
				f.Fatal("over too early")
			}
		}
		time.Sleep(time.Second)
		if !seen.Over() {
			f.Error("not over")
		}
		held, next := f.nodes[1].TakeOver(f.Context(), seen)
		f.wantRole(held, next, "holder")
	})
}

// TestTakenOver finds that one of several takes over at once what a holder that cannot be
// reached has, that the old holder notices, and that it does no harm any more.
func TestTakenOver(t *testing.T) {
	run(t, 3, func(f *fleet) {
		old, _ := f.acquire(f.nodes[0], "holder")
		_, first := f.acquire(f.nodes[1], "waiter")
		_, second := f.acquire(f.nodes[2], "waiter")
		held, seen := f.nodes[1].TakeOver(f.Context(), first)
		f.wantRole(held, seen, "holder")
		held, seen = f.nodes[2].TakeOver(f.Context(), second)
		f.wantRole(held, seen, "waiter")
		if seen.Node != "node1" {
			f.Errorf("it waits for %s", seen.Node)
		}
		old.Fail(oci.Unavailable)
		time.Sleep(5 * time.Second)
		if _, seen = f.acquire(f.nodes[2], "waiter"); seen.Node != "node1" || seen.State != lease.Filling {
			f.Errorf("the old holder has overwritten it: %+v", seen)
		}
	})
}

// TestFailed finds what becomes of a lease whose holder says that it has failed: content that
// the upstream denies one of them is asked for by each, and a failure that passes is tried
// again three times.
func TestFailed(t *testing.T) {
	for code, want := range map[oci.Code]string{oci.Denied: "alone", oci.ManifestUnknown: "alone", oci.TooManyRequests: "alone", oci.Unavailable: "holder"} {
		t.Run(string(code), func(t *testing.T) {
			run(t, 2, func(f *fleet) {
				held, _ := f.acquire(f.nodes[0], "holder")
				held.Fail(code)
				synctest.Wait()
				f.acquire(f.nodes[1], want)
			})
		})
	}
	t.Run("again and again", func(t *testing.T) {
		run(t, 6, func(f *fleet) {
			for i, want := range []string{"holder", "holder", "holder", "holder", "alone"} {
				if held, _ := f.acquire(f.nodes[i], want); held != nil {
					held.Fail(oci.Unavailable)
					synctest.Wait()
				}
			}
			time.Sleep(time.Minute)
			f.acquire(f.nodes[5], "holder")
		})
	})
}

// TestDone finds that a lease that is done is not renewed, and expires.
func TestDone(t *testing.T) {
	run(t, 2, func(f *fleet) {
		f.acquire(f.nodes[0], "holder")
		f.nodes[0].Done(digest)
		f.nodes[0].Done(digest) // does nothing
		before := f.memory.Counts()[buckettest.Put]
		time.Sleep(time.Minute)
		if after := f.memory.Counts()[buckettest.Put]; after != before {
			f.Errorf("written %d times", after-before)
		}
		f.acquire(f.nodes[1], "holder")
	})
}

// TestEnd finds that a mirror that stops gives up what it holds.
func TestEnd(t *testing.T) {
	run(t, 1, func(f *fleet) {
		secret, _ := keys.ReadSecret(strings.NewReader(f.secret))
		l := lease.New(lease.Options{Bucket: f.memory, Secret: secret, Self: lease.Self{Node: "a", Boot: "b", Addr: "a:1"}})
		ctx, stop := context.WithCancel(f.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = l.Run(ctx) })
		if held, _ := l.Acquire(f.Context(), digest); held == nil {
			f.Fatal("not acquired")
		}
		stop()
		running.Wait()
		f.acquire(f.nodes[0], "holder")
		if held, _ := l.Acquire(context.Background(), oci.FromBytes(nil)); held == nil {
			f.Error("who comes late is refused")
		}
	})
}

// TestFaults finds what a mirror makes of a bucket that fails: it goes on alone, and knows
// its own write when the response to it is lost.
func TestFaults(t *testing.T) {
	broken := errors.New("connection reset")
	for name, test := range map[string]struct {
		fault func(op buckettest.Op, puts int) buckettest.Fault
		want  string
	}{
		"down":                 {func(buckettest.Op, int) buckettest.Fault { return buckettest.Fault{Err: broken} }, "alone"},
		"hangs":                {func(buckettest.Op, int) buckettest.Fault { return buckettest.Fault{Before: time.Hour} }, "alone"},
		"the response is lost": {first(buckettest.Fault{Err: broken, Applied: true}), "holder"},
		"it comes too late":    {first(buckettest.Fault{Applied: true, After: time.Hour}), "holder"},
		"another write":        {first(buckettest.Fault{Err: bucket.ErrConflict}), "holder"},
		"asks for fewer":       {first(buckettest.Fault{Err: bucket.ErrSlow}), "holder"},
		"lost, and cannot be read": {func(op buckettest.Op, n int) buckettest.Fault {
			return buckettest.Fault{Err: broken, Applied: op == buckettest.Put}
		}, "alone"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(f *fleet) {
				var puts atomic.Int32
				f.memory.Faults = func(op buckettest.Op, _ string) buckettest.Fault {
					if op == buckettest.Put {
						puts.Add(1)
					}
					return test.fault(op, int(puts.Load()))
				}
				begun := time.Now()
				held, seen := f.nodes[0].Acquire(f.Context(), digest)
				f.wantRole(held, seen, test.want)
				if took := time.Since(begun); took > 6*time.Second {
					f.Errorf("took %v", took)
				}
			})
		})
	}
}

// first is the fault of the first write.
func first(fault buckettest.Fault) func(buckettest.Op, int) buckettest.Fault {
	return func(op buckettest.Op, n int) buckettest.Fault {
		if op == buckettest.Put && n == 1 {
			return fault
		}
		return buckettest.Fault{}
	}
}

// TestLost finds that a holder that cannot renew the lease goes on without it after seven
// seconds, and one whose renewals are applied although they seem to fail keeps it.
func TestLost(t *testing.T) {
	broken := errors.New("connection reset")
	for name, test := range map[string]struct {
		applied bool
		held    int
	}{"not applied": {false, 0}, "applied": {true, 1}} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(f *fleet) {
				var fails atomic.Bool
				f.memory.Faults = func(op buckettest.Op, _ string) buckettest.Fault {
					if op == buckettest.Put && fails.Load() {
						return buckettest.Fault{Err: broken, Applied: test.applied}
					}
					return buckettest.Fault{}
				}
				f.acquire(f.nodes[0], "holder")
				fails.Store(true)
				time.Sleep(10 * time.Second)
				if n := len(f.nodes[0].Held()); n != test.held {
					f.Errorf("holds %d, want %d", n, test.held)
				}
			})
		})
	}
}

// TestForeign finds that what was not written by a mirror of the fleet is left alone, and in
// nobody's way.
func TestForeign(t *testing.T) {
	run(t, 1, func(f *fleet) {
		f.secret = "the secret of another fleet"
		stranger := f.add("stranger")
		f.acquire(stranger, "holder")
		f.acquire(f.nodes[0], "alone")
		time.Sleep(7 * time.Second)
		if n := len(stranger.Held()); n != 1 {
			f.Error("the stranger has lost its lease")
		}
	})
}

// TestOwn finds that a mirror does not wait for itself: it goes on alone while it holds the
// lease, and takes over what it held before.
func TestOwn(t *testing.T) {
	run(t, 1, func(f *fleet) {
		f.acquire(f.nodes[0], "holder")
		f.acquire(f.nodes[0], "alone")
		f.nodes[0].Done(digest)
		f.acquire(f.nodes[0], "holder")
	})
}

package budget_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/budget"
)

var errStore = errors.New("the store says 500")

// randomFaults returns faults that hit one request in so many, each in one of three ways: it
// failed, it failed but was applied, it was applied after its caller had left.
func randomFaults(seed uint64, of int) faults {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	return func(op buckettest.Op, key string) buckettest.Fault {
		mu.Lock()
		defer mu.Unlock()
		f := delayed(op, key)
		if random.IntN(of) > 0 {
			return f
		}
		switch random.IntN(5) {
		case 0:
			f.Err = errStore
		case 1:
			f.Err, f.Applied = errStore, true
		case 2:
			f.Before, f.Applied = 3*time.Second, true
		case 3:
			f.Err = bucket.ErrSlow
		case 4:
			f.Err = bucket.ErrConflict
		}
		return f
	}
}

// A store of which one request in four fails is no reason to spend more than is left: what
// fails is tried again.
func TestFloorWithFaults(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			const limit, mirrors, workers = 200, 5, 2
			h := &hub{limit: limit, window: 6 * time.Hour}
			b := memory()
			nodes := startAll(t, mirrors, h, b)
			if err := nodes[0].pull(t); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Second)
			b.set(randomFaults(seed, 4))
			pullAll(t, nodes, workers, (*node).refresh, 2*time.Minute)
			counted, _ := h.counted()
			if most := limit - reserved + mirrors*(1+workers); counted > most {
				t.Errorf("seed %d: %d were pulled, want %d at most", seed, counted, most)
			}
			if least := limit - reserved - mirrors*workers; counted < least {
				t.Errorf("seed %d: %d were pulled, want %d at least", seed, counted, least)
			}
		})
	}
}

// No pull waits longer than two seconds for a bucket that fails, and while it does each mirror
// goes on by itself. Once the bucket is back they divide again.
func TestBucketDown(t *testing.T) {
	for name, fault := range map[string]buckettest.Fault{
		"hangs":    {Before: time.Hour},
		"fails":    {Err: errStore},
		"denied":   {Err: bucket.ErrDenied},
		"SlowDown": {Err: bucket.ErrSlow},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{limit: 10_000, window: 6 * time.Hour}
			b := memory()
			nodes := startAll(t, 2, h, b)
			pullEach(t, nodes, 1, (*node).pull, 5*time.Second, time.Second)
			b.set(func(buckettest.Op, string) buckettest.Fault { return fault })
			<-time.After(time.Minute) // what was granted is void
			var longest, all time.Duration
			for range 100 {
				begun := time.Now()
				if err := nodes[0].pull(t); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				longest, all = max(longest, time.Since(begun)), all+time.Since(begun)
				<-time.After(100 * time.Millisecond)
			}
			if longest > 2*(time.Second+latency) || all > 200*latency+5*time.Second {
				t.Errorf("%s: a pull took %s, all of them %s", name, longest, all)
			}
			b.set(delayed)
			<-time.After(time.Minute)
			before := nodes[0].ledger.Stats()
			if err := nodes[0].pull(t); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if now := nodes[0].ledger.Stats(); now.Grants != before.Grants+1 {
				t.Errorf("%s: once the bucket is back: %+v", name, now)
			}
		})
	}
}

// Pulls whose responses are lost may have been counted, and are held back until a response
// tells, for a minute.
func TestLostResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, mirrors = 200, 4
		h := &hub{limit: limit, window: 6 * time.Hour}
		nodes := startAll(t, mirrors, h, memory())
		pullEach(t, nodes, 1, (*node).pull, 5*time.Second, time.Second)
		for _, n := range nodes {
			n.lost.Store(1)
		}
		pullAll(t, nodes, 2, (*node).refresh, 20*time.Second)
		for _, n := range nodes {
			n.lost.Store(0)
		}
		if counted, refused := h.counted(); counted > limit-reserved || counted < limit-2*reserved || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d and none", counted, refused, limit-reserved)
		}
		for _, n := range nodes { // for free
			if err := n.send(t.Context(), "HEAD"); err != nil {
				t.Error(err)
			}
		}
		pullAll(t, nodes, 2, (*node).refresh, 2*time.Minute)
		if counted, refused := h.counted(); counted != limit-reserved || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d and none", counted, refused, limit-reserved)
		}
	})
}

// A store that is not known to heed conditions is not asked; each mirror goes on by itself.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ready atomic.Bool
		n := startWith(t, &hub{limit: 1000, window: time.Hour}, memory(), "office", ready.Load)
		pullEach(t, []*node{n}, 1, (*node).pull, 10*time.Second, time.Second)
		if gets, puts := n.bucket.counts(); gets+puts > 0 || n.ledger.Stats().Pulls[budget.Alone] < 9 {
			t.Errorf("%d gets, %d puts, %+v", gets, puts, n.ledger.Stats())
		}
		if n.Budget().Shared {
			t.Error("the budget is said to be shared")
		}
		ready.Store(true)
		pullEach(t, []*node{n}, 1, (*node).pull, 10*time.Second, time.Second)
		if s := n.ledger.Stats(); s.Pulls[budget.Granted] < 9 || !n.Budget().Shared {
			t.Errorf("once it is ready: %+v, %+v", s, n.Budget())
		}
	})
}

// A store that is slow, and not too slow, delays pulls and divides them.
func TestSlowBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 100
		h := &hub{limit: limit, window: 6 * time.Hour}
		b := memory()
		b.set(func(buckettest.Op, string) buckettest.Fault {
			return buckettest.Fault{Before: 150 * time.Millisecond, After: 150 * time.Millisecond}
		})
		nodes := startAll(t, 3, h, b)
		if err := nodes[0].pull(t); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second)
		pullAll(t, nodes, 2, (*node).refresh, 3*time.Minute)
		if counted, refused := h.counted(); counted > limit-reserved || counted < limit-reserved-3 || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d and none", counted, refused, limit-reserved)
		}
	})
}

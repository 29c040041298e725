package tag_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// fresh is how long tags are fresh at the mirrors of these tests.
const fresh = time.Minute

// mirror runs tags above a cache above what is shared in b.
func mirror(t *testing.T, upstream oci.Registry, b *buckettest.Memory) (*cachetest.Fixture, *tag.Registry) {
	t.Helper()
	r := start(t, upstream, b)
	f := cachetest.Start(t, new(ocitest.Fake), func(o *cachetest.Options) {
		o.Cache.Next, o.Tags.Shared, o.Tags.Fresh = r, r.Shared, cachetest.Always(fresh)
		o.Tags.Limits = tags.Limits{MaxStale: time.Hour} // and wait for the upstream for any time
	})
	return f, r
}

// moving is an upstream whose tag v1 moves, and whose requests and responses take random
// times. It remembers when the tag named what.
type moving struct {
	*ocitest.Fake
	random *random

	mu    sync.Mutex
	named map[oci.Digest]int // its place in until
	until []time.Time        // when it was moved away from each; zero: not yet
}

// random is a source that may be used concurrently.
type random struct {
	mu sync.Mutex
	*rand.Rand
}

func (r *random) upTo(d time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.Int64N(int64(d)))
}

// oneIn reports true once in n times.
func (r *random) oneIn(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.IntN(n) == 0
}

func (m *moving) move() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.until); n > 0 {
		m.until[n-1] = time.Now()
	}
	m.named[oci.FromBytes(cachetest.Put(m.Fake, "v1", len(m.until)))] = len(m.until)
	m.until = append(m.until, time.Time{})
}

func (m *moving) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	<-time.After(m.random.upTo(5 * time.Second))
	result, err := m.Fake.Resolve(ctx, ref)
	<-time.After(m.random.upTo(3 * time.Second))
	return result, err
}

// faults makes a bucket slow, and sometimes fail, also after it has done what it was asked
// for, and long after that was given up.
func (m *moving) faults(op buckettest.Op, _ string) buckettest.Fault {
	f := buckettest.Fault{Before: m.random.upTo(600 * time.Millisecond), After: m.random.upTo(600 * time.Millisecond)}
	if m.random.oneIn(8) {
		f.Err, f.Applied = errors.New("lost"), m.random.oneIn(2)
	}
	if op == buckettest.Put && m.random.oneIn(8) {
		f.Before, f.Applied = m.random.upTo(30*time.Second), true
	}
	return f
}

// client asks a mirror again and again, and wants no older response than before, nor one
// that the upstream has not given for too long.
func (m *moving) client(t *testing.T, mirror oci.Registry, until time.Time) {
	const late = 12 * time.Second
	ref := ocitest.ManifestRef(t, "v1")
	last := -1
	for time.Now().Before(until) {
		ctx := t.Context()
		if m.random.oneIn(20) {
			ctx = oci.WithNoCache(ctx)
		}
		result, err := mirror.Resolve(ctx, ref)
		if err != nil {
			t.Error(err)
			return
		}
		m.mu.Lock()
		i, until := m.named[result.Digest], m.until[m.named[result.Digest]]
		m.mu.Unlock()
		if i < last {
			t.Errorf("at %s a mirror responds with the digest %d, after %d", time.Now(), i, last)
		}
		if !until.IsZero() && time.Since(until) > fresh+late {
			t.Errorf("at %s a mirror responds with the digest %d, from which the tag has moved %s ago", time.Now(), i, time.Since(until))
		}
		last = i
		<-time.After(m.random.upTo(10 * time.Second))
	}
}

// Whatever the bucket and the network do, no mirror says what the upstream has not said
// for longer than a window and twelve seconds, nor what is older than what it has said.
func TestNeverOlder(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := &moving{Fake: new(ocitest.Fake), named: make(map[oci.Digest]int), random: &random{Rand: rand.New(rand.NewPCG(seed, 0))}}
				hub.move()
				memory := buckettest.NewMemory()
				memory.Faults = hub.faults
				end := time.Now().Add(2 * time.Hour)
				var all sync.WaitGroup
				for range 3 {
					m, shared := mirror(t, hub, memory)
					all.Go(func() {
						hub.client(t, m, end)
						if n := shared.Stats()[tag.Used]; n < 10 {
							t.Errorf("a mirror has believed the others %d times only", n)
						}
					})
				}
				for time.Now().Before(end) {
					<-time.After(hub.random.upTo(time.Minute))
					hub.move()
				}
				all.Wait()
			})
		})
	}
}

// Many mirrors together ask the upstream hardly more often than one.
func TestNoHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mirrors, windows = 30, 10
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		d := oci.FromBytes(cachetest.Put(fake, "v1", 1))
		upstream := slow{fake, 100 * time.Millisecond}
		var all sync.WaitGroup
		for i := range mirrors {
			m, _ := mirror(t, upstream, memory)
			all.Go(func() {
				<-time.After(time.Duration(i) * time.Second / mirrors) // not all at one moment
				for range windows * int(fresh/time.Second) {
					if result, err := m.Resolve(t.Context(), ocitest.ManifestRef(t, "v1")); err != nil || result.Digest != d {
						t.Errorf("%s, %v", result.Digest, err)
					}
					<-time.After(time.Second)
				}
			})
		}
		all.Wait()
		if n := fake.Calls("Resolve", "v1"); n > mirrors*windows/3 {
			t.Errorf("%d HEADs of %d mirrors in %d windows", n, mirrors, windows)
		} else {
			t.Logf("%d HEADs of %d mirrors in %d windows", n, mirrors, windows)
		}
	})
}

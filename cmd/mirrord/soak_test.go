package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

const (
	shortSoak    = 5 * time.Second
	soakCache    = 64 << 20
	soakTimes    = 5 // so many times as much is asked for
	soakVersions = 3 // of each image
	soakClients  = 16
	soakPause    = 40 * time.Millisecond // between two things that a client does, on average
)

// TestSoak loads a mirror for SOAK, or a few seconds, with all that clients do,
// while the upstream fails now and then and the cache holds a fifth of what is
// pulled. `make soak` does it for 20 minutes with SOAK_BINARY, the program
// that people run.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("SOAK"), shortSoak.String()))
	check(t, err)
	if length < shortSoak {
		t.Fatalf("SOAK=%s: less than %s says nothing", length, shortSoak)
	}
	s := newSoak(t)
	s.fillUp()
	s.part()
	before := s.m.settle(t)
	stop := s.start()
	s.watch(length)
	stop()
	t.Log("\n" + s.table(length))
	s.judge()
	s.part()
	s.m.awaitLevels(t, before, math.Inf(1)) // the samples tell more of memory
	check(t, s.m.end(terminate))
}

// soak is a mirror under load, and what is seen of it.
type soak struct {
	*asker
	t *testing.T
	m *process

	samples []sample
	mu      sync.Mutex // guards all below
	seen    soakFigures
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{})
	check(t, err)
	t.Cleanup(hub.Close)
	content := newNoise(hub)
	for content.size < soakTimes*soakCache {
		content.publish(t, fmt.Sprintf("library/image-%d", len(content.images)), soakVersions)
	}
	s := &soak{t: t, m: newMirror(t)}
	s.asker = newAsker(content, s.m, s.note)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the log's end:", s.m.text())
		}
	})
	s.m.binary = os.Getenv("SOAK_BINARY")
	check(t, s.m.serve(content.upstream(), fmt.Sprintf("--cache-max-size=%d", soakCache), "--tags-fresh=2s"))
	return s
}

// fillUp pulls images until there is an eviction.
func (s *soak) fillUp() {
	s.t.Helper()
	for _, img := range s.content.images {
		check(s.t, s.pull(s.t.Context(), img.repo, "latest", img.versions...))
		if s.m.metrics(s.t)["mirrord_cache_evictions_total"] > 0 {
			return
		}
	}
	s.t.Fatal("all images fit into the cache")
}

// start lets clients ask, tags move and the hub have trouble until stop.
func (s *soak) start() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var work sync.WaitGroup
	s.t.Cleanup(work.Wait) // after a failure: the test's context has ended by then
	for i := range soakClients {
		work.Go(func() { s.askOn(ctx, rand.New(rand.NewPCG(2, uint64(i)))) })
	}
	work.Go(func() { s.moveTags(ctx) })
	work.Go(func() { s.trouble(ctx) })
	return func() {
		cancel()
		s.part() // what stalls would do so for half a minute
		work.Wait()
	}
}

// askOn is one client. What it has begun it ends, after ctx too.
func (s *soak) askOn(ctx context.Context, r *rand.Rand) {
	popular := rand.NewZipf(r, 1.1, 4, uint64(len(s.content.images)-1))
	for ctx.Err() == nil {
		s.askOnce(s.t.Context(), r, s.content.images[popular.Uint64()])
		pause(ctx, time.Duration(r.Int64N(int64(2*soakPause))))
	}
}

// askOnce does one of the things that clients do; what comes of it is noted.
func (s *soak) askOnce(ctx context.Context, r *rand.Rand, img image) {
	version := img.versions[r.IntN(len(img.versions))]
	parts := s.content.parts[version]
	d := parts[r.IntN(len(parts))]
	b := s.content.blobs[oci.Digest(d)]
	// Not the byte that the hub gets wrong: a part comes before the whole is known
	// to be right.
	first := 1 + r.IntN(len(b.bytes)-1)
	switch n := r.IntN(100); {
	case n < 45:
		_ = s.pull(ctx, img.repo, "latest", img.versions...)
	case n < 65:
		_ = s.pull(ctx, img.repo, version, version)
	case n < 80:
		_ = s.getPart(ctx, b, first, first+r.IntN(len(b.bytes)-first))
	case n < 90:
		_ = s.head(ctx, b)
	case n < 95:
		_ = s.leave(ctx, b, first)
	default:
		_, _ = s.get(ctx, b.path, soakPause, d) // less than a MiB a second
	}
}

// moveTags lets tags name other versions.
func (s *soak) moveTags(ctx context.Context) {
	r := rand.New(rand.NewPCG(3, 0))
	for ctx.Err() == nil {
		s.content.move(s.content.images[r.IntN(len(s.content.images))], r)
		pause(ctx, 200*time.Millisecond)
	}
}

// troubles of the hub, one after the other, a second each.
var troubles = []hubsim.Fault{
	{Op: "cdn", FlipAt: new(int64), Times: 10},
	{Op: "cdn", DropAfter: 50_000},
	{Status: 503},
	{Op: "cdn", StallAfter: 50_000, Times: 2},
}

func (s *soak) trouble(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		pause(ctx, 2*time.Second)
		end := s.content.hub.Inject(troubles[i%len(troubles)])
		pause(ctx, time.Second)
		end()
	}
}

// part ends all connections: those of the clients, and those to the hub.
func (s *soak) part() {
	s.http.CloseIdleConnections()
	s.content.hub.Down()
	check(s.t, s.content.hub.Up())
}

// note is told of each answer.
func (s *soak) note(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.count(a)
	if errors.Is(a.err, errWrong) || errors.Is(a.err, errHung) {
		s.t.Error(a.err)
	}
}

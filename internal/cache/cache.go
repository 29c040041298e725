// Package cache is a Registry in front of a Registry, by digest: what was fetched
// once is served from disk, one fetch serves every client that waits for it, and
// the least recently used blobs are evicted for new ones.
//
// A cold blob is read in open.go (join a flight, or start one, and attach a reader
// to it) and in fill.go (ask the upstream, reserve space, copy, verify, store,
// land). The state that one mutex guards is in plain structs: blobs, space, parts,
// flights, hotManifests.
package cache

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"mirrord/internal/cache/lru"
	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
	"mirrord/internal/health"
	"mirrord/internal/negative"
	"mirrord/internal/oci"
)

// Options of a Cache. Hooks, Free, Metadata and Quota may be nil.
type Options struct {
	Next   oci.Registry // for what is not cached, and for refs by tag and lists
	Store  Store
	Policy Policy
	Index  Index
	Health *health.Monitor
	Quota  Quota // nil: pulls are free

	// Metadata orders manifests and configs, as Policy does the other blobs: they
	// have a share of MaxSize of their own. nil: Policy orders all.
	Metadata Policy

	Parts  string                // directory of unfinished fills, on the Store's file system
	Free   func() (int64, error) // free bytes of that file system
	Limits Limits

	Hooks Hooks
}

// Limits of a Cache. SetLimits changes them.
type Limits struct {
	MaxSize  int64 // bytes that the cache may take
	MinFree  int64 // bytes that stay free on the file system
	MaxFills int   // blobs that are filled at once, more wait for their turn; 0: DefaultMaxFills
	// MaxFillsOf limits the blobs that are filled at once from single upstreams; one
	// that is not in it is limited by MaxFills alone.
	MaxFillsOf map[string]int
	Scrub      time.Duration // in which everything that is cached is hashed once; 0: never
}

// Hooks report what no call returns. Each may be nil, is called without a lock
// held and must not block for long.
type Hooks struct {
	FillFailed   func(ref oci.Ref, err error)      // a fill failed after its clients had their response
	Resumed      func(ref oci.Ref, offset int64)   // a fill continues where an earlier one ended
	Stored       func(ref oci.Ref, via oci.Via)    // a fill was stored; via is Shared when it came from the fleet
	Evicted      func(d oci.Digest, size int64)    // a blob was evicted
	Damaged      func(d oci.Digest, err error)     // a blob was damaged on the disk, and is dropped
	RemoveFailed func(d oci.Digest, err error)     // a blob is dropped and its file stays
	IndexFailed  func(err error)                   // a record could not be read or written
	Reconciled   func(r Reconciliation, err error) // the directory was compared with the index

	// The first returns the context of a flight that the request of client may start, made
	// of flight; if it does not start, nothing else is reported of it. The second reports
	// that the request of client waits for it, the third how it ended, with how many bytes.
	FlightBegins func(flight, client context.Context, ref oci.Ref) context.Context
	FlightJoined func(flight, client context.Context)
	FlightEnded  func(flight context.Context, bytes int64, err error)
}

// Cache is a Registry in front of another. New makes one; Run works for it. Its
// methods may be called concurrently.
type Cache struct {
	next   oci.Registry
	opts   Options
	limits atomic.Pointer[Limits]
	health *health.Monitor
	runner *call.Runner // of fills, checks and scrubs; its context outlives every client

	evictor    *evictor
	recorder   *recorder
	partDir    *partDir
	missing    *negative.Cache
	checks     *call.Group[oci.Ref, oci.Result]  // HEADs in flight
	verifyings *call.Group[oci.Digest, struct{}] // of files that were found on the disk

	// mu guards all below. No I/O, hook or index call happens under it.
	mu         sync.Mutex
	blobs      *blobs
	space      *space
	parts      *parts
	flights    *flights
	hot        *hotManifests
	budgets    *lru.Bytes[*spool.Budget] // by budgetKey: of blobs that are not cached yet
	declined   *lru.Bytes[time.Time]     // when there was no space for a digest
	pullsByTag map[string]int64          // by upstream: pulls by tag that no response is set against yet
	stats      Stats
}

// New returns a Cache that knows what the index knows. It starts nothing: call
// Run. It fails when the directory of unfinished fills cannot be read.
func New(o Options) (*Cache, error) {
	runner := call.NewRunner()
	blobs, parts := newBlobs(o), newParts()
	c := &Cache{
		next:       o.Next,
		opts:       o,
		health:     o.Health,
		runner:     runner,
		missing:    negative.New(),
		checks:     call.NewGroup[oci.Ref, oci.Result](runner),
		verifyings: call.NewGroup[oci.Digest, struct{}](runner),
		blobs:      blobs,
		parts:      parts,
		space:      newSpace(o, blobs, parts),
		flights:    newFlights(o.Limits),
		hot:        newHotManifests(),
		budgets:    lru.NewBytes[*spool.Budget](budgetsBytes),
		declined:   lru.NewBytes[time.Time](declinedBytes),
		pullsByTag: make(map[string]int64),
		stats:      newStats(),
	}
	c.limits.Store(&o.Limits)
	c.evictor, c.recorder, c.partDir = newEvictor(c), newRecorder(c), newPartDir(c)
	c.recorder.load()
	if err := c.partDir.load(); err != nil {
		return nil, err
	}
	c.health.OnRetry(health.Disk, c.retryDisk)
	c.health.OnRetry(health.Index, c.recorder.catchUp)
	c.health.OnTick(c.storeManifests)
	return c, nil
}

// SetLimits changes the limits, and evicts what is over them.
func (c *Cache) SetLimits(l Limits) {
	c.mu.Lock()
	c.limits.Store(&l)
	c.space.maxSize, c.space.minFree, c.blobs.share = l.MaxSize, l.MinFree, metadataShare(l.MaxSize)
	c.flights.turns.resize(l)
	c.mu.Unlock()
	c.trim()
}

// Open answers a ref by digest from the cache, or fills it and answers while it
// fills. A ref by tag is passed on.
func (c *Cache) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if !ref.ByDigest() {
		return c.next.Open(ctx, ref)
	}
	return c.OpenWithin(ctx, ref, call.Endless)
}

// List passes on.
func (c *Cache) List(ctx context.Context, l oci.Listing) (*oci.Page, error) {
	return c.next.List(ctx, l)
}

// add caches e as the most recently used, in the place of what its digest had. The
// caller holds mu.
func (c *Cache) add(e *entry) {
	if c.blobs.get(e.digest) != nil {
		c.hot.remove(e.digest)
	}
	c.blobs.add(e)
}

// forget drops e. The caller holds mu.
func (c *Cache) forget(e *entry) {
	c.hot.remove(e.digest)
	c.blobs.forget(e.digest)
}

// entryOf returns the entry of d, or nil.
func (c *Cache) entryOf(d oci.Digest) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blobs.get(d)
}

// release ends a reader's use of e.
func (c *Cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs.release(e)
}

func report[A any](hook func(A), a A) {
	if hook != nil {
		hook(a)
	}
}

func report2[A, B any](hook func(A, B), a A, b B) {
	if hook != nil {
		hook(a, b)
	}
}

// Package cache is a Registry in front of a Registry, by digest: what was fetched
// once is served from disk, one fetch serves every client that waits for it, and
// the least recently used blobs are evicted for new ones.
package cache

import (
	"cmp"
	"context"
	"sync"
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

	Parts    string                // directory of unfinished fills, on the Store's file system
	MaxSize  int64                 // bytes that the cache may take
	MinFree  int64                 // bytes that stay free on the file system
	Free     func() (int64, error) // free bytes of that file system
	MaxFills int                   // blobs that are filled at once, more wait for their turn; 0: DefaultMaxFills
	Scrub    time.Duration         // in which everything that is cached is hashed once; 0: never

	Hooks Hooks
}

// Hooks report what no call returns. Each may be nil, is called without a lock
// held and must not block for long.
type Hooks struct {
	FillFailed   func(ref oci.Ref, err error)      // a fill failed after its clients had their response
	Resumed      func(ref oci.Ref, offset int64)   // a fill continues where an earlier one ended
	Evicted      func(d oci.Digest, size int64)    // a blob was evicted
	Damaged      func(d oci.Digest, err error)     // a blob was damaged on the disk, and is dropped
	RemoveFailed func(d oci.Digest, err error)     // a blob is dropped and its file stays
	IndexFailed  func(err error)                   // a record could not be read or written
	Reconciled   func(r Reconciliation, err error) // the directory was compared with the index
}

// Cache is a Registry in front of another. New makes one; Run works for it. Its
// methods may be called concurrently.
type Cache struct {
	next   oci.Registry
	opts   Options
	health *health.Monitor
	runner *call.Runner // of fills, checks and scrubs; its context outlives every client

	evictTurn  chan struct{} // holds one while a batch is evicted, until it is off the disk
	indexTurn  chan struct{} // holds one while the index is written
	partial    bool          // the index could not be read whole; for New and health's retries alone
	boot       string        // of the kernel, in the names of parts
	missing    *negative.Cache
	checks     *call.Group[oci.Ref, oci.Result]  // HEADs in flight
	verifyings *call.Group[oci.Digest, struct{}] // of files that were found on the disk

	// mu guards all below. No I/O, hook or index call happens under it.
	mu        sync.Mutex
	entries   map[oci.Digest]*entry
	dirty     map[oci.Digest]struct{} // entries whose recency the index does not know
	manifests *lru.Bytes[manifest]    // hot ones, and those that could not be stored, by digest
	unstored  map[oci.Ref]struct{}    // manifests that could not be stored
	flights   map[flightKey]*flight
	evicting  map[oci.Digest]chan struct{} // whose file is being removed or put: closed when that is done
	parts     map[partKey]part             // what failed fills left behind
	budgets   *lru.Bytes[*spool.Budget]    // by budgetKey: of blobs that are not cached yet
	declined  *lru.Bytes[time.Time]        // when there was no space for a digest
	used      int64                        // bytes of entries
	reading   int64                        // those of them that are being read
	reserved  int64                        // bytes promised to fills
	claimed   int64                        // bytes of unfinished fills whose flights have no reservation yet
	leaving   int64                        // bytes that have been forgotten and are still on the disk
	open      int64                        // bytes of fills that were removed and that clients have open
	rooms     map[*room]struct{}
	turns     turns
	inVain    int64                   // bytes that were evicted for writes which failed all the same; 0: it helps
	configs   map[oci.Digest]struct{} // that cached manifests name

	metadataUsed int64 // bytes of entries that Metadata orders

	failing []*entry // that the disk has not given since it fails
	stats   Stats

	pullsByTag map[string]int64 // by upstream: pulls by tag that no response is set against yet
}

const manifestMemory = 64 << 20 // bytes of manifests in memory

// New returns a Cache that knows what the index knows. It starts nothing: call
// Run. It fails when the directory of unfinished fills cannot be read.
func New(o Options) (*Cache, error) {
	runner := call.NewRunner()
	c := &Cache{
		next:       o.Next,
		opts:       o,
		health:     o.Health,
		runner:     runner,
		turns:      newTurns(cmp.Or(o.MaxFills, DefaultMaxFills)),
		evictTurn:  make(chan struct{}, 1),
		indexTurn:  make(chan struct{}, 1),
		boot:       bootID(),
		missing:    negative.New(),
		checks:     call.NewGroup[oci.Ref, oci.Result](runner),
		verifyings: call.NewGroup[oci.Digest, struct{}](runner),
		entries:    make(map[oci.Digest]*entry),
		dirty:      make(map[oci.Digest]struct{}),
		manifests:  lru.NewBytes[manifest](manifestMemory),
		unstored:   make(map[oci.Ref]struct{}),
		flights:    make(map[flightKey]*flight),
		evicting:   make(map[oci.Digest]chan struct{}),
		parts:      make(map[partKey]part),
		rooms:      make(map[*room]struct{}),
		configs:    make(map[oci.Digest]struct{}),
		budgets:    lru.NewBytes[*spool.Budget](budgetsBytes),
		declined:   lru.NewBytes[time.Time](declinedBytes),
		stats:      newStats(),
		pullsByTag: make(map[string]int64),
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.health.OnRetry(health.Disk, c.retryDisk)
	c.health.OnRetry(health.Index, c.catchUp)
	c.health.OnTick(c.storeManifests)
	return c, nil
}

// Open answers a ref by digest from the cache, or fills it and answers while it
// fills. A ref by tag is passed on.
func (c *Cache) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if !ref.ByDigest() {
		return c.next.Open(ctx, ref)
	}
	return c.openDigest(ctx, ref)
}

// List passes on.
func (c *Cache) List(ctx context.Context, l oci.Listing) (*oci.Page, error) {
	return c.next.List(ctx, l)
}

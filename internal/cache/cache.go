// Package cache is a Registry in front of a Registry: what was fetched once is
// served from disk, one fetch serves every client that waits for it, tags are
// asked about again when they are no longer fresh, and the least recently used
// blobs make room for new ones.
package cache

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"mirrord/internal/cache/lru"
	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// Options of a Cache. Hooks, Free, Fresh and Quota may be nil.
type Options struct {
	Next   oci.Registry // what is asked for what is not kept
	Store  Store
	Policy Policy
	Index  Index

	// Metadata orders manifests and configs, as Policy does the other blobs: they
	// have a share of MaxSize of their own. nil: Policy orders all.
	Metadata Policy

	Parts    string                // directory of unfinished fills, on the Store's file system
	MaxSize  int64                 // bytes that the cache may take
	MinFree  int64                 // bytes that stay free on the file system
	Free     func() (int64, error) // free bytes of that file system
	MaxFills int                   // blobs that are filled at once, more wait for their turn; 0: DefaultMaxFills
	Scrub    time.Duration         // in which all that is kept is hashed once; 0: never

	Fresh      func(oci.Ref) time.Duration // how long a tag is served without asking; nil or 0: ask every time
	FreshLists time.Duration               // how long a list is served without asking; 0: ask every time
	Revalidate time.Duration               // how long after that it is served while it is asked about; 0: never
	MaxStale   time.Duration               // how long after it was confirmed an older copy may be served; 0: never
	MaxSilence time.Duration               // of the upstream, while there is an older copy, which is served then; 0: any
	Quota      Quota                       // nil: pulls are free

	Hooks Hooks
}

// Hooks tell what no call returns. Each may be nil, is called without a lock
// held and must not block for long.
type Hooks struct {
	FillFailed   func(ref oci.Ref, err error)      // a fill broke after its clients had been answered
	Resumed      func(ref oci.Ref, offset int64)   // a fill went on where an earlier one had ended
	Evicted      func(d oci.Digest, size int64)    // a blob made room
	Damaged      func(d oci.Digest, err error)     // a blob was not as it was put, and is forgotten
	RemoveFailed func(d oci.Digest, err error)     // a blob is forgotten and its file stays
	IndexFailed  func(err error)                   // a record could not be read or written
	Degraded     func(t Trouble, err error)        // what t names fails; it is told once
	Recovered    func(t Trouble)                   // and works again
	TagStale     func(ref oci.Ref, err error)      // a tag could not be asked about; the older copy is served
	Reconciled   func(r Reconciliation, err error) // the directory was held against the index
}

// Cache is a Registry in front of another. New makes one; Run works for it.
type Cache struct {
	Options

	// ctx is that of the fills: it outlives every client and ends with Run.
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // fills and tag checks
	making  chan struct{}  // held by who evicts, until that batch is off the disk
	telling chan struct{}  // holds one while the index is told of blobs
	blind   bool           // the index could not be read whole; for New and Run alone
	boot    string         // of the kernel, in the names of parts

	// mu guards all below. No I/O, hook or badger call happens under it.
	mu        sync.Mutex
	closed    bool
	entries   map[oci.Digest]*entry
	dirty     map[oci.Digest]struct{} // entries whose recency the index does not know
	manifests *lru.Bytes[manifest]    // hot ones, and those that the disk does not take, by digest
	unkept    map[oci.Ref]struct{}    // manifests that the disk has not taken
	flights   map[flightKey]*flight
	evicting  map[oci.Digest]chan struct{} // whose file is being removed or put: closed when that is done
	parts     map[partKey]part             // what failed fills left behind
	tags      map[oci.Ref]*tag
	budgets   *lru.Bytes[*spool.Budget]            // by budgetKey: of blobs that are not cached yet
	declined  *lru.Bytes[time.Time]                // when the cache had no place for a digest
	missing   *lru.Bytes[missing]                  // what the upstream does not have
	proofs    map[oci.Digest]*question[struct{}]   // files that were found, being hashed
	checks    map[oci.Ref]*question[oci.Result]    // HEADs under way
	listings  map[oci.Listing]*question[*oci.Page] // and lists
	lists     *lru.Bytes[*list]                    // by Listing
	used      int64                                // bytes of entries
	reading   int64                                // those of them that are being read
	reserved  int64                                // bytes promised to fills
	claimed   int64                                // bytes of unfinished fills whose flights have no room yet
	leaving   int64                                // bytes that have been forgotten and are still on the disk
	open      int64                                // bytes of fills that were removed and that clients have open
	rooms     map[*room]struct{}
	turns     turns
	inVain    int64                   // bytes that were evicted for writes which failed all the same; 0: it helps
	configs   map[oci.Digest]struct{} // that cached manifests name

	metadataUsed int64 // bytes of entries that Metadata orders

	troubles map[Trouble]error // since when they were told
	failing  []*entry          // what the disk has not given since then
	stats    Stats

	checkPulls map[string]int64 // by upstream: pulls for checks of tags that no answer is set against yet
}

const manifestMemory = 64 << 20 // bytes of manifests in memory

// New returns a Cache that knows what the index knows. It starts nothing: call
// Run. It fails when the index cannot be read.
func New(o Options) (*Cache, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cache{
		Options:   o,
		ctx:       ctx,
		cancel:    cancel,
		turns:     newTurns(cmp.Or(o.MaxFills, DefaultMaxFills)),
		making:    make(chan struct{}, 1),
		telling:   make(chan struct{}, 1),
		boot:      bootID(),
		entries:   make(map[oci.Digest]*entry),
		dirty:     make(map[oci.Digest]struct{}),
		manifests: lru.NewBytes[manifest](manifestMemory),
		unkept:    make(map[oci.Ref]struct{}),
		flights:   make(map[flightKey]*flight),
		evicting:  make(map[oci.Digest]chan struct{}),
		parts:     make(map[partKey]part),
		rooms:     make(map[*room]struct{}),
		configs:   make(map[oci.Digest]struct{}),
		troubles:  make(map[Trouble]error),
		tags:      make(map[oci.Ref]*tag),
		budgets:   lru.NewBytes[*spool.Budget](budgetsBytes),
		declined:  lru.NewBytes[time.Time](declinedBytes),
		missing:   lru.NewBytes[missing](missingBytes),
		checks:    make(map[oci.Ref]*question[oci.Result]),
		listings:  make(map[oci.Listing]*question[*oci.Page]),
		lists:     lru.NewBytes[*list](listMemory),
		proofs:    make(map[oci.Digest]*question[struct{}]),
		stats:     newStats(),

		checkPulls: make(map[string]int64),
	}
	if err := c.load(); err != nil {
		cancel()
		return nil, err
	}
	return c, nil
}

// Resolve answers from the cache where it can, and says what Open would serve.
// It moves content only where the upstream tells by GET alone what a manifest
// is, and where a tag has moved away from what is cached; it caches that then.
func (c *Cache) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	answer, err := c.resolve(ctx, ref)
	if ref.Kind() == oci.Manifest && (errors.Is(err, oci.ErrNeedsGet) || err == nil && !answer.Complete()) {
		answer, err = c.measure(ctx, ref, answer)
	}
	if err == nil {
		c.countStale(answer.Via, answer.Reason)
	}
	return answer, err
}

func (c *Cache) resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if !ref.ByDigest() {
		return c.headTag(ctx, ref)
	}
	if answer, ok := c.lookUp(ref); ok {
		return answer, nil
	}
	if c.settle(ctx, ref) {
		return c.resolve(ctx, ref)
	}
	return c.resolveDigest(ctx, ref)
}

// Open answers from the cache, or fills it and answers while it fills.
func (c *Cache) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref.ByDigest() {
		return c.openDigest(ctx, ref)
	}
	content, err := c.openTag(ctx, ref)
	if err != nil {
		return nil, err
	}
	c.countStale(content.Via, content.Reason)
	return content, nil
}

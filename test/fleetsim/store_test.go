package fleetsim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
)

// store is the object store of a fleet: one in memory that takes its time, and refuses
// requests when there are too many, as S3 does for one partition.
type store struct {
	*buckettest.Memory
	refused float64 // share of the requests that are refused in any case

	mu            sync.Mutex // guards the rest
	reads, writes allowance
	requests      map[string]int // by kind
	slowDowns     int
	random        *rand.Rand
}

func newStore(refused float64) *store {
	s := &store{Memory: buckettest.NewMemory(), refused: refused, requests: make(map[string]int), reads: allowance{rate: storeReads}, writes: allowance{rate: storeWrites}, random: rand.New(rand.NewPCG(1, 2))}
	s.Faults = s.fault
	return s
}

// fault counts a request, and has it take its time or refuses it.
func (s *store) fault(op buckettest.Op, key string) buckettest.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[kindOf(op, key)]++
	f := buckettest.Fault{Before: storeLatency / 2, After: storeLatency / 2}
	if s.tooMany(op) || s.random.Float64() < s.refused {
		s.slowDowns++
		f.Err = bucket.ErrSlow
	}
	return f
}

// allowance is what may be sent of one kind: so much a second, and a tenth of that at once.
type allowance struct {
	rate float64
	left float64
	at   time.Time
}

// take takes one request, if there is one left.
func (a *allowance) take() bool {
	now := time.Now()
	a.left = min(a.rate/10, a.left+a.rate*now.Sub(a.at).Seconds())
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// tooMany counts the request. The caller holds mu.
func (s *store) tooMany(op buckettest.Op) bool {
	if op == buckettest.Get {
		return !s.reads.take()
	}
	return !s.writes.take()
}

// kindOf names a request: "get content" is one of a blob or a manifest.
func kindOf(op buckettest.Op, key string) string {
	if op == buckettest.Upload {
		op = buckettest.Put
	}
	for prefix, class := range map[string]string{"v1/pub/b/": "content", "v1/pub/l/": "lease", "v1/pub/t/": "tag", "v1/q/": "ledger"} {
		if strings.HasPrefix(key, prefix) {
			return fmt.Sprint(op, " ", class)
		}
	}
	return fmt.Sprint(op, " ", key)
}

// counts returns how many requests of each kind there were, and how many were refused.
func (s *store) counts() (requests map[string]int, slowDowns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests), s.slowDowns
}

// connection is the store as one mirror reaches it: bodies take the time that the slower of
// the connection and the mirror's line needs.
type connection struct {
	*store
	line *line
}

func (c connection) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := c.store.Get(ctx, key, from, etag)
	if err == nil {
		o.Body = slow{o.Body, []*line{c.line, newLine(storeSpeed)}}
	}
	return o, err
}

func (c connection) Upload(ctx context.Context, key string, from io.ReaderAt, size int64, cond bucket.Cond) error {
	own := newLine(storeSpeed)
	for sent := int64(0); sent < size && ctx.Err() == nil; sent += atOnce {
		carry(int(min(atOnce, size-sent)), []*line{c.line, own})
	}
	return c.store.Upload(ctx, key, from, size, cond)
}

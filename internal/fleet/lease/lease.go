// Package lease makes the mirrors of a fleet agree on who fetches content that all of them
// miss: an object in the bucket, written under a condition, which its holder renews. Nothing
// depends on it but work: content is verified by who receives it, so two holders only fetch
// twice.
//
// Durations are measured by this machine alone, or are the age of an object by the store's
// clock: the clocks of two machines are never compared.
package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	rnd "math/rand/v2"
	"slices"
	"sync"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

const (
	requestTime  = 2 * time.Second
	renewEvery   = 3 * time.Second
	lostAfter    = 7 * time.Second  // since the last renewal that succeeded was sent
	unchangedFor = 10 * time.Second // after which a lease that was watched has expired
	expiredAt    = 12 * time.Second // the age of one that was not
	tryTime      = 30 * time.Second // within which so many may take a lease over:
	maxTries     = 3
	maxAttempts  = 3                // of a write that is in somebody's way
	settleTime   = 15 * time.Minute // for which a lease is held while nothing is fetched or uploaded
	storeTime    = time.Minute      // for which one is held until what was fetched is stored
)

// Self is how the others know this mirror.
type Self struct {
	Node string // its name
	Boot string // random, new for each process
	Addr string // host:port, where it serves what it fetches
}

// NewBoot returns a Boot.
func NewBoot() string { return rand.Text() }

// Options of Leases.
type Options struct {
	Bucket bucket.Bucket
	Secret keys.Secret
	Self   Self
}

// Leases are those of one mirror. Its methods may be called concurrently.
type Leases struct {
	opts Options

	writes sync.WaitGroup // goroutines that write to the bucket

	mu      sync.Mutex // guards the rest
	held    map[oci.Digest]*Lease
	stopped bool
}

// New returns Leases. Nothing is sent.
func New(o Options) *Leases { return &Leases{opts: o, held: make(map[oci.Digest]*Lease)} }

// State of a lease.
type State string

// States of a lease.
const (
	Filling State = "fill"
	Failed  State = "failed"
)

// record is a lease as it is in the bucket. Fields that a newer version adds are ignored.
type record struct {
	Node  string `json:"node"`
	Boot  string `json:"boot"`
	Addr  string `json:"addr"`
	Nonce string `json:"nonce"` // of the acquisition
	Seq   int    `json:"seq"`   // of the write, so that no two have the same ETag
	Size  int64  `json:"size"`  // oci.UnknownSize until the upstream has said it
	Have  int64  `json:"have"`  // bytes that were fetched
	State State  `json:"state"`
	Code  string `json:"code,omitempty"` // why it failed, as in the errors of the registry API
	Tries int    `json:"tries"`          // how often it was taken over lately
}

// Seen is the lease of somebody, as it was read.
type Seen struct {
	Self  // whose it is
	Size  int64
	Have  int64
	State State
	Code  oci.Code

	digest oci.Digest
	record record
	etag   string
	age    time.Duration // by the store's clock
	at     time.Time     // when this etag was first seen
	read   time.Time     // when it was last seen
}

// Expired reports whether the holder has not renewed s for so long that somebody else may
// take it over.
func (s *Seen) Expired() bool {
	return s.age+time.Since(s.at) >= expiredAt || time.Since(s.at) >= unchangedFor
}

// Whole reports whether the holder has all of the content, and uploads it.
func (s *Seen) Whole() bool { return s.Size >= 0 && s.Have >= s.Size }

// Over reports whether nobody fetches for s any more.
func (s *Seen) Over() bool { return s.State == Failed || s.Expired() }

// Acquire acquires the lease for d. It returns a Lease when that is this mirror's now, and
// otherwise who holds it. Neither of them says to go on alone: the store cannot be asked, or
// others have tried too often.
func (l *Leases) Acquire(ctx context.Context, d oci.Digest) (*Lease, *Seen) {
	now, err := l.read(ctx, d) // of many mirrors most only need this, and a write costs more
	for attempt := 1; attempt < maxAttempts && errors.Is(err, bucket.ErrSlow) && pause(ctx); attempt++ {
		now, err = l.read(ctx, d)
	}
	seen, free := l.judge(d, now, err)
	if !free {
		return nil, seen
	}
	return l.acquire(ctx, d, seen)
}

// TakeOver takes the lease s over, whose holder cannot be reached, has failed or has not
// renewed it. It returns what Acquire does.
func (l *Leases) TakeOver(ctx context.Context, s *Seen) (*Lease, *Seen) {
	return l.acquire(ctx, s.digest, s)
}

func (l *Leases) acquire(ctx context.Context, d oci.Digest, seen *Seen) (*Lease, *Seen) {
	for attempt := range maxAttempts {
		if (attempt > 1 || seen != nil && seen.State == Failed) && !pause(ctx) {
			return nil, nil
		}
		mine := record{Node: l.opts.Self.Node, Boot: l.opts.Self.Boot, Addr: l.opts.Self.Addr, Nonce: rand.Text(), Size: oci.UnknownSize, State: Filling}
		cond := bucket.IfAbsent()
		if seen != nil {
			mine.Tries = seen.triesNow() + 1
			if mine.Tries > maxTries {
				return nil, nil
			}
			mine.Seq = seen.record.Seq + 1
			cond = bucket.IfMatch(seen.etag)
		}
		sent := time.Now()
		etag, err := l.put(ctx, d, mine, cond)
		if err == nil {
			return l.hold(d, mine, etag, sent), nil
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		now, err := l.read(ctx, d)
		if err == nil && now.record.Nonce == mine.Nonce { // it was written, and the response was lost
			return l.hold(d, mine, now.etag, sent), nil
		}
		var free bool
		if seen, free = l.judge(d, now, err); !free {
			return nil, seen
		}
	}
	return nil, nil
}

// judge says what to make of the lease for d that was read with err: whether this mirror may
// write one, over seen if that is not nil. If not, seen is who holds it, or nil to go on
// alone.
func (l *Leases) judge(d oci.Digest, now *Seen, err error) (seen *Seen, free bool) {
	switch {
	case errors.Is(err, bucket.ErrAbsent):
		return nil, true
	case err != nil:
		return nil, false
	case now.Boot == l.opts.Self.Boot: // from another attempt: nobody waits for itself
		if l.of(d) != nil {
			return nil, false
		}
	case !now.Over():
		return now, false
	case now.State == Failed && now.Code != oci.Unavailable && !now.Expired(): // each may be answered otherwise
		return nil, false
	}
	return now, true
}

// triesNow is how often s was taken over a moment ago.
func (s *Seen) triesNow() int {
	if s.age+time.Since(s.at) > tryTime {
		return 0
	}
	return s.record.Tries
}

// Watch reads again the lease that was seen, unless its holder cannot have renewed it since.
// It fails when that is not there, or cannot be read.
func (l *Leases) Watch(ctx context.Context, s *Seen) (*Seen, error) {
	if time.Since(s.read) < renewEvery && s.Size >= 0 {
		return s, nil
	}
	now, err := l.read(ctx, s.digest)
	if err != nil {
		return nil, err
	}
	if now.etag == s.etag {
		now.at = s.at
		now.age = s.age
	}
	return now, nil
}

func (l *Leases) put(ctx context.Context, d oci.Digest, r record, c bucket.Cond) (string, error) {
	key := keys.Lease(d)
	raw, err := l.opts.Secret.Seal(key, r)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTime, bucket.ErrTimeout)
	defer cancel()
	return l.opts.Bucket.Put(ctx, key, raw, c)
}

const maxRecord = 16 << 10

func (l *Leases) read(ctx context.Context, d oci.Digest) (*Seen, error) {
	key := keys.Lease(d)
	ctx, cancel := context.WithTimeoutCause(ctx, requestTime, bucket.ErrTimeout)
	defer cancel()
	o, err := l.opts.Bucket.Get(ctx, key, 0, "")
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, maxRecord))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return nil, err
	}
	var r record
	if err := l.opts.Secret.Open(key, raw, &r); err != nil {
		return nil, err
	}
	if r.Addr == "" || r.Nonce == "" {
		return nil, fmt.Errorf("%s: %w: it has no holder", key, keys.ErrForeign)
	}
	return &Seen{
		Self: Self{r.Node, r.Boot, r.Addr}, Size: r.Size, Have: r.Have, State: r.State, Code: oci.Code(r.Code),
		digest: d, record: r, etag: o.ETag, age: o.Age, at: time.Now(), read: time.Now(),
	}, nil
}

// Run waits until ctx ends. Then it gives up what is held, so that the others go on at
// once, and waits until that is written. Run once.
func (l *Leases) Run(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	l.stopped = true
	all := slices.Collect(maps.Values(l.held))
	l.mu.Unlock()
	for _, lease := range all {
		lease.Fail(oci.Unavailable)
	}
	l.writes.Wait()
	return nil
}

// Held returns what this mirror holds.
func (l *Leases) Held() []oci.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.held))
}

// Keep notes that d is to be uploaded, or that the upload goes on: the lease for d, if there
// is one, is held meanwhile.
func (l *Leases) Keep(d oci.Digest) {
	if lease := l.of(d); lease != nil {
		lease.keep()
	}
}

// Done ends the lease for d, if there is one: everybody can have it from the bucket, or it
// will not get there. It expires by itself.
func (l *Leases) Done(d oci.Digest) {
	if lease := l.of(d); lease != nil {
		lease.end()
	}
}

// of returns the lease for d, or nil.
func (l *Leases) of(d oci.Digest) *Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[d]
}

// pause waits for 50 to 400 ms, at random, unless ctx ends.
func pause(ctx context.Context) bool {
	return call.Sleep(ctx, 50*time.Millisecond+rnd.N(350*time.Millisecond))
}

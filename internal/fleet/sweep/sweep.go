// Package sweep keeps a fleet's bucket small: it touches what is used, and removes what
// nobody has used for long.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/fleetprobe"
	"mirrord/internal/fleet/keys"
)

// Options of Run.
type Options struct {
	Bucket bucket.Bucket
	MaxAge time.Duration // for which content stays that nobody uses
	DryRun bool          // nothing is removed

	// Progress is called about each second with what was done so far; nil: nobody wants
	// to know. Calls do not overlap.
	Progress func(Result)
}

// Result is what a sweep has found and removed, or with DryRun would remove. Sizes are in
// bytes.
type Result struct {
	Objects int            `json:"objects"` // that were looked at
	Bytes   int64          `json:"bytes"`
	Removed map[string]int `json:"removed"` // objects by kind
	Freed   int64          `json:"freed_bytes"`
	Failed  int            `json:"failed,omitempty"`  // objects that could not be removed
	Problem string         `json:"problem,omitempty"` // of the last of them
	Unknown int            `json:"unknown,omitempty"` // objects that are not mirrord's, or of a newer version, which stay
}

// Total is how many objects were removed.
func (r Result) Total() (n int) {
	for _, removed := range r.Removed {
		n += removed
	}
	return n
}

const (
	day           = 24 * time.Hour
	deletesAtOnce = 8
	maxFailed     = 100 // after which a sweep ends: the store refuses
	progressEvery = time.Second
	uploadAge     = day // of the remains of an upload
)

// kind is what the objects under a prefix are for.
type kind struct {
	name, prefix string
	age          time.Duration // from which on they are removed; 0: MaxAge and a day
}

// kinds are all that mirrord writes, but for keys.Fleet, which stays.
var kinds = []kind{
	{name: "content", prefix: keys.Blobs},
	{name: "private", prefix: keys.Private},
	{name: "tags", prefix: keys.Tags},
	{name: "leases", prefix: keys.Leases, age: day},
	{name: "budgets", prefix: keys.Ledgers, age: 7 * day},
	{name: "nodes", prefix: keys.Nodes, age: time.Hour},
	{name: "probes", prefix: fleetprobe.Prefix, age: time.Hour},
}

// Run looks at all objects and removes those that are too old, and then the remains of
// uploads that broke off, if the store lists those. It fails when the bucket cannot be
// listed, or when many objects cannot be removed; the Result is what was done until then.
//
// What another mirror touches in the second in which it is removed is lost: it is fetched
// from the upstream again.
func Run(ctx context.Context, o Options) (Result, error) {
	s := &sweeper{opts: o, told: time.Now()}
	s.done.Removed = make(map[string]int)
	for _, k := range kinds {
		s.done.Removed[k.name] = 0
	}
	err := s.objects(ctx)
	if err == nil && !o.DryRun {
		err = o.Bucket.Sweep(ctx, uploadAge)
		if errors.Is(err, bucket.ErrUnsupported) { // the store does not list them
			err = nil
		}
	}
	return s.result(), err
}

type sweeper struct {
	opts Options
	told time.Time // when Progress was called last

	mu   sync.Mutex // guards done
	done Result
}

func (s *sweeper) objects(ctx context.Context) error {
	deletes, ctx := errgroup.WithContext(ctx)
	deletes.SetLimit(deletesAtOnce)
	err := s.each(ctx, func(k kind, info bucket.Info) {
		deletes.Go(func() error { return s.remove(ctx, k, info) })
	})
	if failed := deletes.Wait(); failed != nil {
		return failed
	}
	return err
}

// each calls remove with what is too old.
func (s *sweeper) each(ctx context.Context, remove func(kind, bucket.Info)) error {
	for info, err := range s.opts.Bucket.List(ctx, "") {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		k, known := kindOf(info.Key)
		s.found(info, known)
		if known && info.Age > s.limit(k) {
			remove(k, info)
		}
		s.tell()
	}
	return nil
}

// kindOf returns of what kind the object with a key is. Objects that stay are of none.
func kindOf(key string) (kind, bool) {
	for _, k := range kinds {
		if strings.HasPrefix(key, k.prefix) {
			return k, true
		}
	}
	return kind{}, false
}

func (s *sweeper) limit(k kind) time.Duration {
	if k.age == 0 {
		return s.opts.MaxAge + day
	}
	return k.age
}

func (s *sweeper) found(info bucket.Info, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.Objects++
	s.done.Bytes += info.Size
	if !known && info.Key != keys.Fleet {
		s.done.Unknown++
	}
}

// remove removes an object, and fails when so many could not be removed that the rest
// cannot be, either.
func (s *sweeper) remove(ctx context.Context, k kind, info bucket.Info) error {
	var err error
	if !s.opts.DryRun {
		err = s.opts.Bucket.Delete(ctx, info.Key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.done.Removed[k.name]++
		s.done.Freed += info.Size
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		s.done.Failed++
		s.done.Problem = err.Error()
		if s.done.Failed >= maxFailed || errors.Is(err, bucket.ErrDenied) {
			return fmt.Errorf("objects cannot be removed: %w", err)
		}
	}
	return nil
}

// tell calls Progress, unless it was called just now.
func (s *sweeper) tell() {
	if s.opts.Progress == nil || time.Since(s.told) < progressEvery {
		return
	}
	s.told = time.Now()
	s.opts.Progress(s.result())
}

func (s *sweeper) result() Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.done
	r.Removed = maps.Clone(r.Removed)
	return r
}

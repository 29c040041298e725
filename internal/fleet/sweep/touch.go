package sweep

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
)

// TouchOptions of a Toucher.
type TouchOptions struct {
	Bucket bucket.Bucket
	MaxAge time.Duration // see Options

	// Able reports whether the store can touch, and its ages are right. While it does not,
	// nothing is done.
	Able func() bool

	// Used yields the objects whose content was served from this mirror's disk since a
	// time: their keys and sizes.
	Used func(since time.Time) iter.Seq2[string, int64]
}

// Toucher touches what is in use in the bucket once it is older than half of MaxAge: what
// is read through Watch, and once a day what was served from the disk, which the bucket does
// not learn of. New makes it; Run works for it. Its methods may be called concurrently.
type Toucher struct {
	opts  TouchOptions
	reads chan object

	mu      sync.Mutex // guards pending
	pending map[string]struct{}
}

// object is what may have to be touched.
type object struct {
	key  string
	size int64
}

const (
	maxPending  = 1000
	touchEvery  = time.Second / 2 // at the most
	afterStart  = 10 * time.Minute
	failurePass = time.Minute // after a failure of the bucket
	spread      = time.Hour   // so that mirrors do not all look at once
)

// NewToucher returns a Toucher.
func NewToucher(o TouchOptions) *Toucher {
	return &Toucher{opts: o, reads: make(chan object, maxPending), pending: make(map[string]struct{})}
}

// note notes that an object is read. It never blocks: of very many old objects some are
// left to the next reader.
func (t *Toucher) note(o bucket.Info) {
	if o.Age <= t.opts.MaxAge/2 || !isContent(o.Key) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.pending[o.Key]; ok {
		return
	}
	select {
	case t.reads <- object{o.Key, o.Size}:
		t.pending[o.Key] = struct{}{}
	default:
	}
}

func isContent(key string) bool {
	return strings.HasPrefix(key, keys.Blobs) || strings.HasPrefix(key, keys.Private)
}

// Run touches until ctx ends. Run once.
func (t *Toucher) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { t.touchReads(ctx) })
	work.Go(func() { t.touchUsed(ctx) })
	work.Wait()
	return nil
}

func (t *Toucher) touchReads(ctx context.Context) {
	for {
		select {
		case o := <-t.reads:
			_, err := t.touch(ctx, o)
			t.mu.Lock()
			delete(t.pending, o.key)
			t.mu.Unlock()
			call.Sleep(ctx, pauseAfter(err))
		case <-ctx.Done():
			return
		}
	}
}

// touchUsed looks once a day at what was served since the day before.
func (t *Toucher) touchUsed(ctx context.Context) {
	fresh := make(map[string]time.Time)
	wait := afterStart
	for call.Sleep(ctx, wait+rand.N(spread)) {
		fresh = t.pass(ctx, fresh)
		wait = day - spread
	}
}

// pass looks at what was used in the last day, but for what is fresh until later. It
// returns until when the objects are fresh.
func (t *Toucher) pass(ctx context.Context, fresh map[string]time.Time) map[string]time.Time {
	next := make(map[string]time.Time)
	begun := time.Now()
	for key, size := range t.opts.Used(begun.Add(-day - spread)) {
		if until := fresh[key]; begun.Before(until) {
			next[key] = until
			continue
		}
		left, err := t.touch(ctx, object{key, size})
		if err == nil {
			next[key] = time.Now().Add(left)
		}
		if !call.Sleep(ctx, pauseAfter(err)) {
			break
		}
	}
	return next
}

func pauseAfter(err error) time.Duration {
	if err != nil {
		return failurePass
	}
	return touchEvery
}

const requestTime = 10 * time.Second

// touch touches the object if it is old, and returns how long it need not be looked at.
func (t *Toucher) touch(ctx context.Context, o object) (left time.Duration, err error) {
	if !t.opts.Able() {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	found, err := t.opts.Bucket.Get(ctx, o.key, max(0, o.size-1), "") // its last byte
	switch {
	case errors.Is(err, bucket.ErrAbsent), errors.Is(err, bucket.ErrPrecondition): // it is private, gone, or wrong
		return 0, nil
	case err != nil:
		return 0, err
	}
	if err := found.Body.Close(); err != nil {
		return 0, err
	}
	if left = t.opts.MaxAge/2 - found.Age; left >= 0 {
		return left, nil
	}
	err = t.opts.Bucket.Touch(ctx, o.key, found.ETag)
	if errors.Is(err, bucket.ErrAbsent) || errors.Is(err, bucket.ErrPrecondition) || errors.Is(err, bucket.ErrConflict) {
		return 0, nil // another mirror touches it, or it was removed
	}
	return t.opts.MaxAge / 2, err
}

// Watch returns next, of which each Get is noted.
func (t *Toucher) Watch(next bucket.Bucket) bucket.Bucket { return watched{next, t} }

type watched struct {
	bucket.Bucket
	toucher *Toucher
}

// Get is of the interface.
func (w watched) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := w.Bucket.Get(ctx, key, from, etag)
	if err == nil {
		w.toucher.note(o.Info)
	}
	return o, err
}

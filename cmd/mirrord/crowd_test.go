package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/oci"
)

// crowd is clients that pull from a mirror which is killed and comes back. An
// answer may break off then, and only then; a complete one is right, always.
type crowd struct {
	t       *testing.T
	catalog *catalog
	digests []oci.Digest
	base    string       // of the mirror: http://HOST/v2/
	life    atomic.Int64 // one more just before each end of the mirror, and when it is back: odd while it is up
	right   atomic.Int64 // complete answers
	peers   atomic.Int64 // of these from another mirror of a fleet
	broken  atomic.Int64
	longest atomic.Int64 // of what a client has done, in nanoseconds
	clients sync.WaitGroup
}

func newCrowd(t *testing.T, c *catalog, mirror string) *crowd {
	return &crowd{t: t, catalog: c, digests: c.digests(), base: "http://" + mirror + "/v2/"}
}

// start lets n clients pull until ctx ends.
func (c *crowd) start(ctx context.Context, n int, seed uint64) {
	for i := range n {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		c.clients.Go(func() {
			for ctx.Err() == nil {
				c.insist(ctx, c.wish(r))
				pause(ctx, time.Duration(r.Int64N(int64(20*time.Millisecond))))
			}
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// wish is what a client does next.
func (c *crowd) wish(r *rand.Rand) func() error {
	img := c.catalog.images[r.IntN(len(c.catalog.images))]
	d := c.digests[r.IntN(len(c.digests))]
	size := len(c.catalog.blobs[d].bytes)
	first := r.IntN(size)
	last := first + r.IntN(size-first)
	switch r.IntN(8) {
	case 0:
		c.catalog.move(img, r)
	case 1:
		return func() error { return c.part(d, first, last) }
	case 2:
		return func() error { return c.leave(d, first) }
	}
	return func() error { return c.pull(img) }
}

// insist repeats what the end of the mirror has broken.
func (c *crowd) insist(ctx context.Context, act func() error) {
	for ctx.Err() == nil {
		life, begun := c.life.Load(), time.Now()
		err := act()
		c.noteTime(time.Since(begun))
		if err == nil {
			return
		}
		c.broken.Add(1)
		up := life%2 == 1 && life == c.life.Load()
		if up || errors.Is(err, errWrong) || timedOut(err) {
			c.t.Errorf("the mirror is up: %v, and a client gets: %v", up, err)
		}
		pause(ctx, 10*time.Millisecond)
	}
}

func (c *crowd) noteTime(took time.Duration) {
	for longest := c.longest.Load(); int64(took) > longest && !c.longest.CompareAndSwap(longest, int64(took)); {
		longest = c.longest.Load()
	}
}

func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (c *crowd) pull(img image) error {
	p := puller{base: c.base + img.repo}
	err := p.pull("latest")
	c.right.Add(int64(len(p.answers)))
	for _, answer := range p.answers {
		if answer.via == "peer" {
			c.peers.Add(1)
		}
	}
	if len(p.answers) > 0 && !slices.Contains(img.versions, p.answers[0].digest.String()) {
		return fmt.Errorf("%w: %s is %s", errWrong, img.repo, p.answers[0].digest)
	}
	return err
}

// open asks for a blob, from first to last.
func (c *crowd) open(ctx context.Context, d oci.Digest, first, last int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+c.catalog.blobs[d].path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	return client.Do(req)
}

// part fetches a part of a blob.
func (c *crowd) part(d oci.Digest, first, last int) error {
	resp, err := c.open(context.Background(), d, first, last)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := digest.FromReader(resp.Body)
	if err != nil {
		return err
	}
	want := oci.FromBytes(c.catalog.blobs[d].bytes[first : last+1])
	if resp.StatusCode != http.StatusPartialContent || got != want {
		return fmt.Errorf("%w: bytes %d to %d of %s: %s, digest %s", errWrong, first, last, d, resp.Status, got)
	}
	c.right.Add(1)
	return nil
}

// leave begins to fetch a blob and goes away after n bytes.
func (c *crowd) leave(d oci.Digest, n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	resp, err := c.open(ctx, d, 0, len(c.catalog.blobs[d].bytes)-1)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.CopyN(io.Discard, resp.Body, int64(n))
	return err
}

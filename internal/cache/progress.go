package cache

import (
	"cmp"
	"slices"
	"time"

	"mirrord/internal/oci"
)

// Progress is how far a fill in flight has come. Sizes are in bytes.
type Progress struct {
	Ref        oci.Ref // of who asked first
	Written    int64   // with what an earlier fill had left
	Size       int64   // oci.UnknownSize until the upstream has said it
	Waiters    int     // requests that wait for it or read it
	Background bool    // no client asked for it
	Queued     bool    // it waits for its turn
	Started    time.Time
	Rate       float64 // bytes a second, on average
}

// Fills returns the fills in flight, the oldest first. It may be called concurrently.
func (c *Cache) Fills() []Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Progress, 0, len(c.flights.inFlight))
	for _, f := range c.flights.inFlight {
		all = append(all, f.progress())
	}
	slices.SortFunc(all, func(a, b Progress) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Ref.Digest(), b.Ref.Digest()))
	})
	return all
}

// progress returns how far f has come. The caller holds Cache.mu.
func (f *flight) progress() Progress {
	p := Progress{Ref: f.ref, Size: oci.UnknownSize, Background: f.isBackground() || f.background, Queued: f.queued, Started: f.started}
	for _, n := range f.waiters {
		p.Waiters += n
	}
	if f.hasResult() {
		p.Size = f.result.Size
	}
	if f.filling != nil {
		p.Written, p.Size, p.Rate = f.filling.Written(), f.filling.Size(), f.filling.Rate()
	}
	return p
}

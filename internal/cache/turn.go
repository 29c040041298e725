package cache

import (
	"time"

	"mirrord/internal/oci"
)

const (
	// DefaultMaxFills is how many blobs are filled at once where MaxFills is 0.
	DefaultMaxFills = 32
	// turnTime is how long who asks for a blob waits for his turn before the
	// upstream is asked for its size, and he is answered: containerd gives up
	// after 30 s without an answer, but not after it.
	turnTime = 5 * time.Second
)

// awaitTurn waits, no longer than patience if that is not negative, until f may
// fill. A manifest is small and does not queue behind layers.
func (c *Cache) awaitTurn(f *flight, patience time.Duration) {
	if f.turn || f.ref.Kind() == oci.Manifest {
		return
	}
	var tired <-chan time.Time
	if patience >= 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		tired = timer.C
	}
	select {
	case c.turns <- struct{}{}:
		f.turn = true
	case <-tired:
	case <-c.ctx.Done(): // the upstream's body will tell
	}
}

func (c *Cache) endTurn(f *flight) {
	if f.turn {
		<-c.turns
	}
}

// standInLine answers who waits for f, whose turn has not come, and waits for it
// without keeping the upstream's connection. Where the size is not known nobody
// can be answered before the end.
func (c *Cache) standInLine(f *flight, s *spool) {
	if f.turn || f.ref.Kind() == oci.Manifest {
		return
	}
	if f.source.Size > 0 {
		f.open(s, f.source.Size)
	}
	if body, ok := oci.Unverified(f.source.Body).(oci.Idler); ok {
		body.Idle()
	}
	c.awaitTurn(f, endless)
}

package cache

import (
	"time"

	"mirrord/internal/oci"
)

const (
	// DefaultMaxFills is how many blobs are filled at once where MaxFills is 0.
	DefaultMaxFills = 32
	// idleAfter is how long a fill that waits for its turn keeps its connection,
	// which would be asked for again.
	idleAfter = 5 * time.Second
)

// awaitTurn waits until f, whose source is open, may fill s. Who waits for f is
// answered meanwhile, if its size is known: containerd gives up after 30 s
// without an answer, but not after it. A manifest is small and does not queue
// behind layers.
func (c *Cache) awaitTurn(f *flight, s *spool) {
	if f.ref.Kind() == oci.Manifest {
		return
	}
	select {
	case c.turns <- struct{}{}:
		f.turn = true
		return
	default:
	}
	if f.source.Size > 0 {
		f.open(s, f.source.Size)
	}
	if c.takeTurn(f, idleAfter) {
		return
	}
	if body, ok := oci.Unverified(f.source.Body).(oci.Idler); ok {
		body.Idle()
	}
	c.takeTurn(f, endless)
}

// takeTurn waits for a turn, no longer than patience if that is not negative,
// and reports whether it has come.
func (c *Cache) takeTurn(f *flight, patience time.Duration) bool {
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
	return f.turn
}

func (c *Cache) endTurn(f *flight) {
	if f.turn {
		<-c.turns
	}
}

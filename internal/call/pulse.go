package call

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"mirrord/internal/oci"
)

// maxWait bounds the wait for an upstream that responds, but slowly, while there
// is a stale copy: a client waits for a HEAD and then for a GET, and containerd
// gives up after 30 s.
const maxWait = 10 * time.Second

// Endless is the silence that a caller without a stale copy tolerates.
const Endless time.Duration = -1

// ErrSilent ends the wait for a call, not the call itself.
var ErrSilent = oci.Errorf(oci.Unavailable, "the upstream has been silent for too long")

// Pulse records when an upstream last made progress. A distant upstream that does
// is waited for: each round trip over a line of 300 ms is short, and a token, a
// HEAD and a GET over new connections take ten of them. Its methods may be called
// concurrently.
type Pulse struct {
	begun time.Time
	last  atomic.Int64 // when, in nanoseconds since begun
}

// NewPulse returns a Pulse that begins now.
func NewPulse() *Pulse { return &Pulse{begun: time.Now()} }

// Beat notes that the upstream has made progress.
func (p *Pulse) Beat() { p.last.Store(int64(time.Since(p.begun))) }

// left returns how much longer to wait if the upstream stays silent.
func (p *Pulse) left(silence time.Duration) time.Duration {
	if silence < 0 {
		return math.MaxInt64
	}
	return time.Until(p.begun.Add(min(time.Duration(p.last.Load())+silence, maxWait)))
}

// Wait returns nil when done is closed, and fails with the cause of ctx when that
// ends. Unless silence is Endless it fails with ErrSilent when the upstream has been
// silent for that long, or has not completed within ten seconds.
func (p *Pulse) Wait(ctx context.Context, done <-chan struct{}, silence time.Duration) error {
	timer := time.NewTimer(p.left(silence))
	defer timer.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			left := p.left(silence)
			if left <= 0 {
				return ErrSilent
			}
			timer.Reset(left)
		}
	}
}

package cache

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"mirrord/internal/oci"
)

// maxWait bounds the wait for an upstream that answers, but slowly, while there
// is an older copy: a client waits for a HEAD and then for a GET, and containerd
// gives up after 30 s.
const maxWait = 10 * time.Second

// errSilent ends a client's wait, not what it has waited for.
var errSilent = oci.Errorf(oci.Unavailable, "the upstream has been silent for too long")

// pulse tells when an upstream was last heard of. What waits for a distant one
// that is at work goes on waiting: each round trip over a line of 300 ms is
// short, and a token, a HEAD and a GET over new connections take ten of them.
type pulse struct {
	begun time.Time
	heard atomic.Int64 // when, in nanoseconds since begun
}

func newPulse() *pulse { return &pulse{begun: time.Now()} }

// beat notes that the upstream was heard of.
func (p *pulse) beat() { p.heard.Store(int64(time.Since(p.begun))) }

// left is how long one who bears such a silence goes on waiting.
func (p *pulse) left(silence time.Duration) time.Duration {
	if silence < 0 {
		return math.MaxInt64
	}
	return time.Until(p.begun.Add(min(time.Duration(p.heard.Load())+silence, maxWait)))
}

// wait returns nil when done is closed, and fails at ctx's end. Unless silence
// is endless it fails with errSilent when the upstream has been silent for that
// long, or at work for maxWait.
func (p *pulse) wait(ctx context.Context, done <-chan struct{}, silence time.Duration) error {
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
				return errSilent
			}
			timer.Reset(left)
		}
	}
}

// endless is the silence that is borne by one who has nothing else.
const endless = -1

// silenceFor is how long a silence is borne by one who has an older copy, or
// none.
func (c *Cache) silenceFor(older bool) time.Duration {
	if older && c.MaxSilence > 0 {
		return c.MaxSilence
	}
	return endless
}

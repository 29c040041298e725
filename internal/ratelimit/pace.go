package ratelimit

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

const (
	// paceBurst is how many requests a client that has been quiet may send at once: a
	// pull of an image for many platforms is a hundred manifests and their layers.
	paceBurst = 200

	// paceWait is how long a request waits for its turn before it is refused. A client
	// that is refused goes on without the mirror, or fails; one that waits only takes
	// longer.
	paceWait = 5 * time.Second
)

// Pace limits how many requests each client may send in a second, beside how many it
// may have in flight: a request that waits for its turn is in flight. Methods may be
// called concurrently.
type Pace struct {
	limit    int
	inFlight *InFlight
	buckets  *buckets
}

// NewPace returns a Pace that allows each client so many requests a second, and more
// for a moment after a quiet one; 0 means no limit.
func NewPace(perSecond int, inFlight *InFlight) *Pace {
	const seconds = 10 // in which the burst is earned, at least
	return &Pace{limit: perSecond, inFlight: inFlight, buckets: newBuckets(rate.Limit(perSecond), max(paceBurst, seconds*perSecond))}
}

// Enter waits for the turn of a request of the client of ctx, see oci.ClientOf; the
// caller calls Leave when it has ended. Enter fails with an *oci.LimitError when the
// turn is too far off or too many are in flight, and with the cause of ctx when that
// ends.
func (p *Pace) Enter(ctx context.Context) error {
	if err := p.inFlight.Enter(ctx); err != nil {
		return err
	}
	err := p.wait(ctx)
	if err != nil {
		p.inFlight.Leave(ctx)
	}
	return err
}

// Leave ends a request that Enter has admitted.
func (p *Pace) Leave(ctx context.Context) { p.inFlight.Leave(ctx) }

func (p *Pace) wait(ctx context.Context) error {
	client := oci.ClientOf(ctx).Key()
	if p.limit == 0 || client == (oci.ClientKey{}) {
		return nil
	}
	now := time.Now()
	turn := p.buckets.of(client).ReserveN(now, 1)
	delay := turn.DelayFrom(now)
	if delay == 0 {
		return nil
	}
	if delay > paceWait {
		turn.CancelAt(now)
		return &oci.LimitError{
			Kind: oci.LimitRate, Client: client.String(), Limit: p.limit,
			RetryAt: now.Add(max(minRetry, delay-paceWait)),
		}
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return context.Cause(ctx)
	}
}

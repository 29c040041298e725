package ratelimit

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

const clientWindow = 6 * time.Hour // Docker Hub's

// Clients gives each client a share of the pulls: a token bucket that holds the
// share and refills evenly within six hours. Methods may be called concurrently.
type Clients struct {
	share   int
	buckets *buckets
}

// NewClients returns Clients with a share of so many pulls each; 0 means no limit.
func NewClients(share int) *Clients {
	return &Clients{share: share, buckets: newBuckets(rate.Limit(float64(share)/clientWindow.Seconds()), share)}
}

// Share is what NewClients got.
func (c *Clients) Share() int { return c.share }

// Take takes a pull from upstream out of the share of the client of ctx, see
// oci.ClientOf. It fails with an *oci.LimitError when none is left. Without a
// client there is no limit.
func (c *Clients) Take(ctx context.Context, upstream string) error {
	return c.admit(ctx, upstream, func(l *rate.Limiter, now time.Time) bool { return l.AllowN(now, 1) })
}

// Check fails like Take, but takes nothing.
func (c *Clients) Check(ctx context.Context, upstream string) error {
	return c.admit(ctx, upstream, func(l *rate.Limiter, now time.Time) bool { return l.TokensAt(now) >= 1 })
}

// Return returns a pull that Take has taken and that was not spent.
func (c *Clients) Return(ctx context.Context) {
	if client := oci.ClientOf(ctx).Key(); client != (oci.ClientKey{}) && c.share > 0 {
		c.buckets.of(client).AllowN(time.Now(), -1)
	}
}

func (c *Clients) admit(ctx context.Context, upstream string, allows func(*rate.Limiter, time.Time) bool) error {
	client := oci.ClientOf(ctx).Key()
	if c.share == 0 || client == (oci.ClientKey{}) {
		return nil
	}
	now := time.Now()
	limiter := c.buckets.of(client)
	if allows(limiter, now) {
		return nil
	}
	return &oci.LimitError{
		Kind: oci.LimitClient, Upstream: upstream, Client: client.String(),
		Limit: c.share, Window: clientWindow, RetryAt: now.Add(untilOne(limiter, now)),
	}
}

// untilOne returns the time until the limiter has a whole token.
func untilOne(l *rate.Limiter, now time.Time) time.Duration {
	seconds := (1 - l.TokensAt(now)) / float64(l.Limit())
	return max(minRetry, time.Duration(seconds*float64(time.Second)))
}

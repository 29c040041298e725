package ratelimit

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

const (
	clientWindow = 6 * time.Hour // Docker Hub's
	maxClients   = 1 << 14       // that are remembered; whoever is forgotten starts anew
)

// Clients gives each client its share of the pulls: so many at once, and then
// as many again, evenly, over six hours. It may be used concurrently.
type Clients struct {
	share int

	mu       sync.Mutex // guards limiters
	limiters *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

// NewClients returns Clients that have a share of so many pulls each; 0 means
// no limit.
func NewClients(share int) *Clients {
	limiters, err := simplelru.NewLRU[netip.Prefix, *rate.Limiter](maxClients, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Clients{share: share, limiters: limiters}
}

// Take books a pull from upstream for the client behind ctx. It fails with an
// *oci.LimitError when that has none left. Nobody's pull is free.
func (c *Clients) Take(ctx context.Context, upstream string) error {
	return c.ask(ctx, upstream, func(l *rate.Limiter, now time.Time) bool { return l.AllowN(now, 1) })
}

// Check is Take without booking.
func (c *Clients) Check(ctx context.Context, upstream string) error {
	return c.ask(ctx, upstream, func(l *rate.Limiter, now time.Time) bool { return l.TokensAt(now) >= 1 })
}

// Return gives back what Take booked and was not spent.
func (c *Clients) Return(ctx context.Context) {
	if client, ok := oci.ClientOf(ctx); ok && c.share > 0 {
		c.limiter(client).AllowN(time.Now(), -1)
	}
}

func (c *Clients) ask(ctx context.Context, upstream string, allows func(*rate.Limiter, time.Time) bool) error {
	client, ok := oci.ClientOf(ctx)
	if c.share == 0 || !ok {
		return nil
	}
	now := time.Now()
	limiter := c.limiter(client)
	if allows(limiter, now) {
		return nil
	}
	return &oci.LimitError{
		Kind: oci.LimitClient, Upstream: upstream, Client: nameOfClient(client),
		Limit: c.share, Window: clientWindow, RetryAt: now.Add(untilOne(limiter, now)),
	}
}

// nameOfClient is what a person calls it: an address, or the network that counts
// as one.
func nameOfClient(client netip.Prefix) string {
	if client.IsSingleIP() {
		return client.Addr().String()
	}
	return client.String()
}

func (c *Clients) limiter(client netip.Prefix) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	limiter, ok := c.limiters.Get(client)
	if !ok {
		limiter = rate.NewLimiter(rate.Limit(float64(c.share)/clientWindow.Seconds()), c.share)
		c.limiters.Add(client, limiter)
	}
	return limiter
}

// untilOne is the time until the limiter has a whole token.
func untilOne(l *rate.Limiter, now time.Time) time.Duration {
	seconds := (1 - l.TokensAt(now)) / float64(l.Limit())
	return max(minRetry, time.Duration(seconds*float64(time.Second)))
}

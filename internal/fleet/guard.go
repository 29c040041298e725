package fleet

import "context"

// Guard has what else uses a bucket leave it alone while it fails.
type Guard struct{ breaker *breaker }

// Allow fails while the bucket is to be left alone.
func (g Guard) Allow() error { return g.breaker.allow() }

// Note notes how a request of ctx has ended. What its caller has given up tells nothing.
func (g Guard) Note(ctx context.Context, err error) { g.breaker.note(ctx, err) }

// Reads guards requests that read.
func (r *Registry) Reads() Guard { return Guard{r.reads} }

// Writes guards requests that write.
func (u *Uploads) Writes() Guard { return Guard{u.writes} }

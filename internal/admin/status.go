package admin

import (
	"context"
	"maps"
	"math"
	"net/http"
	"slices"

	"mirrord/internal/cache"
	"mirrord/internal/status"
)

// The paths of the status. Without the token they have figures, and no names.
const (
	statusPath  = "/v1/status"
	historyPath = "/v1/history"
	livePath    = "/v1/live"
)

// status returns what the mirror does, with names for those who have the token.
func (a *API) status(r *http.Request) (any, error) {
	return a.currentStatus(a.opts.Token.trusts(r)), nil
}

// history returns the traffic of the last day and year.
func (a *API) history(*http.Request) (any, error) { return a.opts.Status.History(), nil }

// currentStatus returns what the mirror does now, without names unless they are wanted.
func (a *API) currentStatus(names bool) status.Status {
	s := status.Status{Version: a.opts.Version, Offline: a.opts.Offline(), Budgets: a.statusBudgets(), Fills: a.statusFills(), Warm: a.statusWarm()}
	if a.opts.Fleet != nil {
		s.Fleet = a.opts.Fleet.Status()
	}
	a.opts.Status.Fill(&s)
	s.Cache = a.statusCache()
	failing, degraded := a.opts.Failing(), a.opts.Health.Degraded()
	for _, upstream := range slices.Sorted(maps.Keys(failing)) {
		s.Fail(upstream, failing[upstream])
	}
	for _, component := range slices.Sorted(maps.Keys(degraded)) {
		s.Degrade(string(component), degraded[component])
	}
	if !names {
		s.Withhold()
	}
	return s
}

// statusBudgets returns what is left of each credential, without asking anybody.
func (a *API) statusBudgets() []status.Budget {
	all := []status.Budget{}
	for _, p := range a.opts.Pools() {
		usable := p.Usable()
		for i, m := range p.Members() {
			b := budgetOf(m.Budget())
			if !usable[i] {
				b.Problem = "its login failed"
			}
			all = append(all, status.Budget{Upstream: b.Upstream, Credential: b.Credential, Remaining: b.Remaining, Limit: b.Limit, ResetBy: b.ResetBy, State: b.State()})
		}
	}
	return all
}

// maxFills is how many fills in flight a status has.
const maxFills = 100

// statusFills returns the downloads in flight, the oldest first.
func (a *API) statusFills() []status.Fill {
	all := []status.Fill{}
	for _, p := range a.opts.Cache.Fills() {
		all = append(all, status.Fill{
			Upstream: p.Ref.Upstream(), Repository: p.Ref.Repository(), Digest: p.Ref.Digest().String(),
			Bytes: p.Written, Size: p.Size, Waiters: p.Waiters, Background: p.Background, Queued: p.Queued,
			Started: p.Started, Rate: math.Round(p.Rate),
		})
	}
	return all[:min(len(all), maxFills)]
}

// statusWarm returns the lists that are warmed by a schedule.
func (a *API) statusWarm() (all []status.WarmList) {
	for _, l := range a.opts.WarmLists.Status() {
		w := status.WarmList{Name: l.Name, Running: l.Running, Next: moment(l.Next)}
		if l.Last != nil {
			w.Last, w.Outcome = &l.Last.Ended, string(l.Last.Outcome)
			w.Images, w.Cached = l.Last.Summary.Images, l.Last.Summary.Warmed+l.Last.Summary.Cached
		}
		all = append(all, w)
	}
	return all
}

// statusCache returns how full the disk is. A disk that does not say has no free space.
func (a *API) statusCache() status.Cache {
	c := a.opts.Cache.Stats()
	free, _ := a.opts.Free()
	return status.Cache{
		Bytes: c.Bytes, Max: c.MaxBytes, Free: free, Blobs: c.Entries, Pinned: c.Pinned, MaxPinned: a.opts.Retention.Max(), Pins: a.opts.Retention.Count(), Evicted: c.EvictedBytes,
		Oldest: c.Oldest.Seconds(), Holds: a.opts.Status.Holds(capacity(c, free)).Seconds(),
	}
}

// capacity returns how many bytes the cache may grow to, on the disk that it has.
func capacity(c cache.Stats, free int64) int64 {
	return max(0, min(c.MaxBytes, c.Bytes+free-c.MinFree))
}

// Status returns the status of the mirror, and as the mirror sent it. Without a token that
// can be read it has no names.
func (c *Client) Status(ctx context.Context) (s status.Status, raw []byte, err error) {
	raw, err = c.get(ctx, statusPath, nil, &s)
	return s, raw, err
}

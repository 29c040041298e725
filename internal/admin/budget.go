package admin

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"mirrord/internal/ratelimit"
	"mirrord/internal/upstream"
)

// Budget is the budget of one credential, as JSON. Times are absent when there is
// none, and Limit is when none is known.
type Budget struct {
	Upstream   string     `json:"upstream"`
	Credential string     `json:"credential"`
	Usable     bool       `json:"usable"`            // false: its login failed, and it is disabled
	Problem    string     `json:"problem,omitempty"` // why it cannot be used now, found out for this response
	Limit      int        `json:"limit,omitempty"`
	Remaining  *int       `json:"remaining,omitempty"`
	Window     float64    `json:"window_seconds,omitempty"`
	ResetBy    *time.Time `json:"reset_by,omitempty"`
	Source     string     `json:"source,omitempty"`
	Observed   *time.Time `json:"observed,omitempty"`
	PullsAt    *time.Time `json:"pulls_at,omitempty"`    // no manifest GET is sent before
	RequestsAt *time.Time `json:"requests_at,omitempty"` // no request is sent before
	LimitedAt  *time.Time `json:"limited_at,omitempty"`
	LimitedBy  string     `json:"limited_by,omitempty"`
	Shared     bool       `json:"shared,omitempty"` // the mirrors of the fleet spend from it together
	Spent      int64      `json:"spent"`            // manifest GETs since the start
}

// budgets returns the present budgets.
func (a *API) budgets(r *http.Request) (any, error) {
	return a.currentBudgets(r.Context(), a.opts.Pools()), nil
}

// currentBudgets returns what each credential can do now: its budget, and what a check
// of the pools finds wrong.
func (a *API) currentBudgets(ctx context.Context, pools []*upstream.Pool) []Budget {
	var known []ratelimit.Budget
	var usable []bool
	for _, p := range pools {
		for _, m := range p.Members() {
			known = append(known, m.Budget())
		}
		usable = append(usable, p.Usable()...)
	}
	problems := a.checks.ask(ctx, pools)
	all := make([]Budget, len(known))
	for i, b := range known {
		all[i] = budgetOf(b)
		all[i].Usable = usable[i]
		if problems[i] != nil {
			all[i].Problem = problems[i].Error()
		}
	}
	return all
}

func budgetOf(b ratelimit.Budget) Budget {
	budget := Budget{
		Upstream: b.Upstream, Credential: b.Credential,
		Limit: b.Limit, Window: b.Window.Seconds(), Source: b.Source, Shared: b.Shared, Spent: b.Spent,
		ResetBy: moment(b.ResetBy), Observed: moment(b.Observed),
		PullsAt: moment(b.PullsAt), RequestsAt: moment(b.RequestsAt),
		LimitedAt: moment(b.LimitedAt), LimitedBy: string(b.LimitedBy),
	}
	if b.Known() {
		budget.Remaining = &b.Remaining
	}
	return budget
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

const (
	checkTime  = 5 * time.Second // bounds what is asked of the upstreams for one response
	checkEvery = time.Second     // at most so often, however many ask for it: it needs no token
)

// checks asks the upstreams for all who ask at the same time, and no more often than is
// allowed: those who come too early wait.
type checks struct {
	turn  chan struct{} // has one while the upstreams are asked; guards all below
	begun time.Time     // the last check
	pools []*upstream.Pool
	found []error
}

// ask returns what is wrong with each credential, in the order of the pools.
func (c *checks) ask(ctx context.Context, pools []*upstream.Pool) []error {
	arrived := time.Now()
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.begun.Before(arrived) || !slices.Equal(c.pools, pools) {
		<-time.After(time.Until(c.begun.Add(checkEvery)))
		c.begun, c.pools = time.Now(), slices.Clone(pools)
		c.found = checkAll(context.WithoutCancel(ctx), pools) // others get it, too
	}
	return c.found
}

// checkAll returns what is wrong with each credential, in the order of the pools.
func checkAll(ctx context.Context, pools []*upstream.Pool) []error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	found := make([][]error, len(pools))
	var checks sync.WaitGroup
	for i, p := range pools {
		checks.Go(func() { found[i] = p.Check(ctx) })
	}
	checks.Wait()
	return slices.Concat(found...)
}

// State is what a person wants to know of b in a few words.
func (b Budget) State() string {
	switch {
	case b.Problem != "":
		return b.Problem
	case b.RequestsAt != nil:
		return "no request before " + b.RequestsAt.Format(time.RFC3339)
	case b.PullsAt != nil:
		return "no pull before " + b.PullsAt.Format(time.RFC3339)
	case b.Remaining != nil && *b.Remaining <= 0:
		return "no pulls left"
	}
	return "ok"
}

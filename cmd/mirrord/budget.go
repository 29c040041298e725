package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"mirrord/internal/ratelimit"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// budget is what the admin API tells of one credential, as JSON. Times are
// absent when there is none, and limit is when none is known.
type budget struct {
	Upstream   string     `json:"upstream"`
	Credential string     `json:"credential"`
	Usable     bool       `json:"usable"`            // false: its login failed, and it is set aside
	Problem    string     `json:"problem,omitempty"` // why it gives nothing now, found out for this answer
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
	Spent      int64      `json:"spent"` // manifest GETs since the start
}

// checkTime bounds what is asked of the upstreams for one answer.
const checkTime = 5 * time.Second

// checkAll says what is wrong with each credential, in the order of the pools.
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

// currentBudgets finds out what each credential can do now.
func currentBudgets(ctx context.Context, ledger *ratelimit.Ledger, pools []*upstream.Pool) []budget {
	return budgetsOf(ledger.Budgets(), logins(pools), checkAll(ctx, pools))
}

// budgetsOf joins what the ledger knows, what the pools know and what is wrong
// with them, which are in one order.
func budgetsOf(known []ratelimit.Budget, logins []telemetry.Login, problems []error) []budget {
	all := make([]budget, len(known))
	for i, b := range known {
		all[i] = budget{
			Upstream: b.Upstream, Credential: b.Credential, Usable: logins[i].Usable,
			Limit: b.Limit, Window: b.Window.Seconds(), Source: b.Source, Spent: b.Spent,
			ResetBy: moment(b.ResetBy), Observed: moment(b.Observed),
			PullsAt: moment(b.PullsAt), RequestsAt: moment(b.RequestsAt),
			LimitedAt: moment(b.LimitedAt), LimitedBy: string(b.LimitedBy),
		}
		if b.Known() {
			all[i].Remaining = &b.Remaining
		}
		if problems[i] != nil {
			all[i].Problem = problems[i].Error()
		}
	}
	return all
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// serveBudgets answers with the budgets of now.
func serveBudgets(budgets func(context.Context) []budget) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(budgets(r.Context())) // a client that has left misses nothing
	}
}

// writeBudgets writes a table for a person, at the time now.
func writeBudgets(w io.Writer, budgets []budget, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "UPSTREAM\tCREDENTIAL\tLEFT\tLIMIT\tWINDOW\tTOLD\tSPENT\tSTATE")
	for _, b := range budgets {
		left, limit, window, told := "-", "-", "-", "never"
		if b.Remaining != nil {
			left, limit = fmt.Sprint(*b.Remaining), fmt.Sprint(b.Limit)
		}
		if b.Window > 0 {
			window = time.Duration(b.Window * float64(time.Second)).String()
		}
		if b.Observed != nil {
			told = now.Sub(*b.Observed).Round(time.Second).String() + " ago"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", b.Upstream, b.Credential, left, limit, window, told, b.Spent, b.state())
	}
	return table.Flush() // the table keeps the first error
}

func (b budget) state() string {
	switch {
	case b.Problem != "":
		return b.Problem
	case b.RequestsAt != nil:
		return "nothing is sent before " + b.RequestsAt.Format(time.RFC3339)
	case b.PullsAt != nil:
		return "no pull before " + b.PullsAt.Format(time.RFC3339)
	case b.Remaining != nil && *b.Remaining <= 0:
		return "spent"
	}
	return "ok"
}

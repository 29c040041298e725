package page

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/status"
)

// minutes are points of one request each, from so many minutes before now on.
func minutes(n int) (all []status.Point) {
	for i := range n {
		all = append(all, status.Point{Time: now.Truncate(time.Minute).Add(time.Duration(i+1-n) * time.Minute), Traffic: status.Traffic{Requests: 1}})
	}
	return all
}

// Bars are of quarters of an hour by the clock, and all that is of the last day is in one.
func TestBarsOfDay(t *testing.T) {
	p := lastDay(minutes(20), now) // 14:03
	got := make(map[string]int64)
	for i, sum := range p.sums {
		if sum.Requests > 0 {
			got[p.name(i)] = sum.Requests
		}
	}
	if diff := cmp.Diff(map[string]int64{"Fri 13:30": 1, "Fri 13:45": 15, "Fri 14:00": 4}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"14:15", "20:15", "02:15", "08:15", "14:00"}, p.labels()); diff != "" {
		t.Error(diff)
	}
	var all int64
	for _, sum := range lastDay(minutes(1440), now).sums {
		all += sum.Requests
	}
	if all != 1440-11 { // those before the first whole quarter
		t.Errorf("%d of 1440 minutes are drawn", all)
	}
}

// Days are those of the mirror's zone, also where clocks change.
func TestBarsOfYear(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 30, 0, 30, 0, 0, berlin) // a day after one of 23 hours
	var days []status.Point
	for i := range 3 {
		days = append(days, status.Point{Time: time.Date(2026, 3, 28+i, 0, 0, 0, 0, berlin), Traffic: status.Traffic{Requests: int64(i + 1)}})
	}
	p := lastYear(days, now)
	n := len(p.sums)
	if n != 366 || p.name(0) != "2025-03-30" || p.name(n-1) != "2026-03-30" {
		t.Errorf("%d bars from %s to %s", n, p.name(0), p.name(n-1))
	}
	for i, want := range []int64{1, 2, 3} {
		if got := p.sums[n-3+i].Requests; got != want {
			t.Errorf("%s has %d requests, want %d", p.name(n-3+i), got, want)
		}
	}
}

func TestDrawing(t *testing.T) {
	p := period{
		title: "last 3", bar: "a bar", layouts: layouts{"15:04", "15:04", "15:04"},
		begins: []time.Time{now, now.Add(time.Hour), now.Add(2 * time.Hour)},
		sums:   []status.Traffic{{Requests: 10, Hits: 6, Failed: 1}, {}, {Requests: 20, Hits: 20, Failed: 5}},
	}
	c := draw(subjects[0], p)
	var paths, totals []string
	for _, s := range c.Series {
		paths, totals = append(paths, s.Path()), append(totals, s.Total)
	}
	if diff := cmp.Diff([]string{"M0 70.00h.8v30.00H0zM2 25.00h.8v75.00H2z", "M0 55.00h.8v15.00H0z", "M0 50.00h.8v5.00H0zM2 0.00h.8v25.00H2z"}, paths); diff != "" {
		t.Errorf("paths: %s", diff)
	}
	if diff := cmp.Diff([]string{"21", "3", "6"}, totals); diff != "" {
		t.Errorf("totals: %s", diff)
	}
	want := "In the last 3: 21 hits, 3 misses, 6 failed. The highest bar is that of 16:03, with 20."
	if c.Summary != want || c.Highest != "peak 20 requests in a bar" {
		t.Errorf("%q, %q", c.Summary, c.Highest)
	}
	if !strings.Contains(string(c.Hover), `x="0" width="1" height="100"><title data-fresh>14:03: 6 hits, 3 misses, 1 failed</title>`) {
		t.Errorf("above the bars: %s", c.Hover)
	}
	if diff := cmp.Diff([]row{{"16:03", []string{"15", "0", "5"}}, {"15:03", []string{"0", "0", "0"}}, {"14:03", []string{"6", "3", "1"}}}, c.Rows); diff != "" {
		t.Errorf("rows: %s", diff)
	}
	if strings.Contains(strings.Join(paths, ""), "NaN") {
		t.Error("a bar of nothing is drawn")
	}
}

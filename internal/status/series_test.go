package status

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// Days and months are those of the mirror's time zone, also where it is changed to
// daylight saving time.
func TestDays(t *testing.T) {
	zone := berlin(t)
	r, c := newTest(time.Date(2026, 3, 28, 23, 59, 59, 0, zone))
	for range 4 { // to the 31st, over a night of 23 hours
		r.Note(Request{Via: oci.Hit, Bytes: 10})
		c.Time = time.Date(2026, 3, c.Day()+1, 0, 0, 0, 0, zone)
	}
	s := statusOf(r) // on April 1st
	if s.Start.Requests != 4 || s.Today.Requests != 0 || s.Month.Requests != 0 {
		t.Errorf("on the first of the next month: %+v", s)
	}
	r.Note(Request{Via: oci.Fill})
	s = statusOf(r)
	if s.Start.Requests != 5 || s.Today.Requests != 1 || s.Month.Requests != 1 || s.Start.Hits != 4 || s.Start.Bytes != 40 {
		t.Errorf("a request later: %+v", s)
	}
	var days []string
	for _, d := range r.History().Days {
		days = append(days, d.Time.Format(time.RFC3339))
	}
	want := []string{"2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-03-31T00:00:00+02:00", "2026-04-01T00:00:00+02:00"}
	if diff := cmp.Diff(want, days); diff != "" {
		t.Error(diff)
	}
}

// The history begins with the oldest minute that is known, has no gaps, and no more than
// a day.
func TestHistory(t *testing.T) {
	r, c := newTest(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r.Note(Request{})
	c.Time = c.Add(3 * time.Minute)
	r.Note(Request{})
	var got []int64
	for _, m := range r.History().Minutes {
		got = append(got, m.Requests)
	}
	if diff := cmp.Diff([]int64{1, 0, 0, 1}, got); diff != "" {
		t.Error(diff)
	}
	c.Time = c.Add(24*time.Hour - time.Minute)
	if m := r.History().Minutes; len(m) != maxMinutes || m[0].Requests != 1 || m[1].Requests != 0 {
		t.Errorf("%d minutes, the first with %+v", len(m), m[0])
	}
	c.Time = c.Add(time.Minute)
	if m := r.History().Minutes; len(m) != 1 {
		t.Errorf("%d minutes after a day without requests", len(m))
	}
}

// A minute takes the place of the one a day before it, and a day that of the one 366 days
// before it, and counts from nothing.
func TestPlaces(t *testing.T) {
	r, c := newTest(noon)
	r.Note(Request{})
	for _, after := range []time.Duration{maxMinutes * time.Minute, maxDays * 24 * time.Hour} {
		c.Time = noon.Add(after)
		r.Note(Request{})
		h := r.History()
		if last := h.Minutes[len(h.Minutes)-1]; last.Requests != 1 || !last.Time.Equal(c.Time) {
			t.Errorf("after %v the last minute is %+v", after, last)
		}
	}
	if today := statusOf(r).Today.Requests; today != 1 {
		t.Errorf("%d requests today", today)
	}
}

// A clock that jumps costs no count but those of spans that it has left, and nothing
// from the future is shown.
func TestClockJumps(t *testing.T) {
	day := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	r, c := newTest(day)
	r.Note(Request{})
	for _, at := range []time.Time{
		day.AddDate(5, 0, 0).Add(time.Hour), time.Unix(0, 0).UTC(), time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), day.Add(-time.Hour), day,
	} {
		c.Time = at
		r.Note(Request{})
	}
	s := statusOf(r)
	if s.Start.Requests != 6 || s.Today.Requests != 3 || s.Month.Requests != 3 {
		t.Errorf("since the start %d, today %d, this month %d requests", s.Start.Requests, s.Today.Requests, s.Month.Requests)
	}
	h := r.History()
	if n := len(h.Minutes); n != 61 || h.Minutes[0].Requests != 1 || h.Minutes[60].Requests != 2 {
		t.Errorf("%d minutes, the last %+v", n, h.Minutes[n-1])
	}
	if n := len(h.Days); n != 1 {
		t.Errorf("%d days: %+v", n, h.Days)
	}
}

// How long content stays is not guessed from a few minutes.
func TestHolds(t *testing.T) {
	r, c := newTest(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
	r.add(Traffic{Fetched: 100})
	if d := r.Holds(1000); d != 0 {
		t.Errorf("after a moment: %v", d)
	}
	c.Time = c.Add(119 * time.Minute)
	if d := r.Holds(1000); d != 20*time.Hour {
		t.Errorf("100 bytes in 2 hours fill 1000 in %v", d)
	}
	if d := r.Holds(1 << 60); d > 11*365*24*time.Hour || d < 0 {
		t.Errorf("a huge cache holds content for %v", d)
	}
}

package warm

import (
	"testing"
	"time"

	"mirrord/internal/schedule"
)

// When the clock is set or the host slept, a list is due once, and then by the new time.
func TestScheduleWithAClockThatJumps(t *testing.T) {
	daily, err := schedule.Parse("0 5 * * *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	s := NewScheduler(New(Options{Offline: func() bool { return false }}), Hooks{})
	s.Set([]Scheduled{{Name: "base", Schedule: daily}})
	e := s.lists[0]
	day := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	e.next = daily.Next(day)
	for _, test := range []struct {
		at   time.Time
		due  bool
		wait time.Duration
		next string
	}{
		{day, false, time.Minute, "2026-11-27 05:00"},
		{day.Add(5*time.Hour - 20*time.Second), false, 20 * time.Second, "2026-11-27 05:00"},
		{day.Add(5 * time.Hour), true, time.Minute, "2026-11-28 05:00"},
		{day.Add(5*time.Hour - time.Second), false, time.Minute, "2026-11-28 05:00"}, // set back a little
		{day.AddDate(0, 0, 9).Add(7 * time.Hour), true, time.Minute, "2026-12-07 05:00"},
		{day.AddDate(9, 0, 0), true, time.Minute, "2035-11-27 05:00"},
		{day.Add(4 * time.Hour), false, time.Minute, "2026-11-27 05:00"},
	} {
		wait := s.look(test.at)
		queued := s.dequeue() != nil
		if queued != test.due || s.dequeue() != nil || wait != test.wait || e.next.Format("2006-01-02 15:04") != test.next {
			t.Errorf("at %s: due %t, wait %s, next %s; want %+v", test.at, queued, wait, e.next, test)
		}
		e.busy = false
	}
}

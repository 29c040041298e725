package schedule_test

import (
	"strings"
	"testing"
	"time"

	"mirrord/internal/schedule"
)

// Each schedule is due at these times, the clock of whose zone is changed in March and
// October.
func TestNext(t *testing.T) {
	for _, test := range []struct{ expression, zone, after, want string }{
		{"0 5 * * 1-5", "Europe/Berlin", "2026-11-27T04:59:59+01:00", "2026-11-27T05:00:00+01:00 2026-11-30T05:00:00+01:00"},
		{" 0  5 * * mon-fri ", "Europe/Berlin", "2026-11-27T05:00:00+01:00", "2026-11-30T05:00:00+01:00 2026-12-01T05:00:00+01:00"},
		{"0 5 * * *", "UTC", "2026-11-27T05:30:00+01:00", "2026-11-27T05:00:00Z 2026-11-28T05:00:00Z"},
		{"0 5 13 * 5", "UTC", "2026-11-27T00:00:00Z", "2026-11-27T05:00:00Z 2026-12-04T05:00:00Z 2026-12-11T05:00:00Z 2026-12-13T05:00:00Z"},
		{"@daily", "UTC", "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00+01:00", "2027-03-28T03:30:00+02:00 2027-03-29T02:30:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00"},
		{"*/30 * * * *", "Europe/Berlin", "2026-10-25T02:15:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T02:30:00+01:00 2026-10-25T03:00:00+01:00"},
		{"*/30 * * * *", "Europe/Berlin", "2027-03-28T01:45:00+01:00", "2027-03-28T03:00:00+02:00 2027-03-28T03:30:00+02:00"},
	} {
		s, err := schedule.Parse(test.expression, test.zone)
		if err != nil {
			t.Errorf("%q: %v", test.expression, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, test.after)
		if err != nil {
			t.Fatal(err)
		}
		for want := range strings.SplitSeq(test.want, " ") {
			if at = s.Next(at); at.Format(time.RFC3339) != want {
				t.Errorf("%q in %s: %s, want %s", test.expression, test.zone, at.Format(time.RFC3339), want)
			}
		}
		if s.Zone() != test.zone || s.String() != strings.Join(strings.Fields(test.expression), " ") {
			t.Errorf("%q is shown as %q in %q", test.expression, s, s.Zone())
		}
	}
	if next := (schedule.Schedule{}).Next(time.Now()); !next.IsZero() {
		t.Errorf("no schedule is due at %s", next)
	}
}

func TestWrong(t *testing.T) {
	for _, test := range []struct{ expression, zone, want string }{
		{"", "", `"" is not a schedule`},
		{"daily", "", "write minute, hour"},
		{"0 5 * *", "", "expected exactly 5 fields"},
		{"0 0 5 * * *", "", "expected exactly 5 fields"},
		{"60 5 * * *", "", "above maximum (59)"},
		{"0 24 * * *", "", "above maximum (23)"},
		{"*/0 * * * *", "", "must be a positive number"},
		{"0 0 30 2 *", "", "there is no such day"},
		{"@every 1h", "", "starts over at each start"},
		{"CRON_TZ=UTC 0 5 * * *", "", "the time zone is written in time_zone"},
		{"H 5 * * *", "", "is not a schedule"},
		{strings.Repeat("1,", 100_000) + "1 * * * *", "", "is not a schedule"},
		{"0 5 * * *", "Mars/Olympus", `"Mars/Olympus" is not a time zone; write for example Europe/Berlin`},
		{"0 5 * * *", "../../etc/passwd", "is not a time zone"},
	} {
		if _, err := schedule.Parse(test.expression, test.zone); err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 600 {
			t.Errorf("%.80q in %q: %.700v", test.expression, test.zone, err)
		}
	}
}

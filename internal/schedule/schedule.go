// Package schedule says when something is due: by an expression of cron in a time zone.
package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // of hosts and images without a database of time zones

	"github.com/netresearch/go-cron"
)

// Schedule is when something is due. The zero value never is.
type Schedule struct {
	expression string
	zone       *time.Location
	times      cron.Schedule
}

const example = "write minute, hour, day, month and day of the week, such as 0 5 * * 1-5 for 5:00 on working days, or @daily"

// As in cron, a day that matches one of day and day of the week is enough if both are
// restricted.
var parser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom | cron.Descriptor)

// Parse returns the schedule of an expression with five fields, or one of @hourly, @daily,
// @weekly, @monthly and @yearly, in a zone of the tz database; an empty one is that of this
// host. Every error is one of the expression or the zone, and says what to write instead.
func Parse(expression, zone string) (Schedule, error) {
	location := time.Local
	if zone != "" {
		var err error
		if location, err = time.LoadLocation(zone); err != nil {
			return Schedule{}, fmt.Errorf("%.80q is not a time zone; write for example Europe/Berlin or UTC, or leave it out for that of this host", zone)
		}
	}
	fields := strings.Fields(expression)
	times, err := parser.Parse(strings.Join(fields, " "))
	switch {
	case strings.Contains(expression, "="): // a zone, as some crons have it
		err = errors.New("it has a =; the time zone is written in time_zone")
	case strings.HasPrefix(expression, "@every"):
		err = errors.New("@every starts over at each start of the mirror")
	case err == nil && times.Next(time.Now()).IsZero():
		err = errors.New("there is no such day in the next years")
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("%.80q is not a schedule: %w; %s", expression, err, example)
	}
	return Schedule{strings.Join(fields, " "), location, times}, nil
}

// Next returns the first time after a moment at which something is due, in the zone of the
// schedule; zero when that is never. A time of day that the clock leaves out when summer
// begins is due right after it, and one that it repeats when summer ends is due twice.
func (s Schedule) Next(after time.Time) time.Time {
	if s.times == nil {
		return time.Time{}
	}
	return s.times.Next(after.In(s.zone))
}

// String returns the expression.
func (s Schedule) String() string { return s.expression }

// Zone returns the name of the time zone.
func (s Schedule) Zone() string {
	if s.zone == nil {
		return ""
	}
	return s.zone.String()
}

package status

import "time"

const (
	maxMinutes = 1440
	maxDays    = 366
)

// add adds what d counts to t.
func (t *Traffic) add(d Traffic) {
	t.Requests += d.Requests
	t.Hits += d.Hits
	t.Failed += d.Failed
	t.Bytes += d.Bytes
	t.Fetched += d.Fetched
	t.PullsSaved += d.PullsSaved
	t.PullsSpent += d.PullsSpent
}

// span is the traffic of one minute or day, by its number: since 1970, days by the
// calendar of the mirror's time zone.
type span struct {
	number  int64
	changed bool // since it was stored
	Traffic
}

// ring has the last spans, each in the place that its number gives it: whatever the clock
// does, a span is replaced only by another one that is counted.
type ring []span

func (r ring) place(number int64) *span {
	n := int64(len(r))
	return &r[(number%n+n)%n]
}

// at returns the span of that number to add to.
func (r ring) at(number int64) *span {
	s := r.place(number)
	if s.number != number {
		*s = span{number: number}
	}
	return s
}

// of returns the traffic in the span of that number, zero if there was none.
func (r ring) of(number int64) Traffic {
	if s := r.place(number); s.number == number {
		return s.Traffic
	}
	return Traffic{}
}

// until returns the spans from the oldest that is known up to now, without gaps.
func (r ring) until(now int64) []span {
	first := now
	for _, s := range r {
		if s.number > now-int64(len(r)) && s.number < first && s.Traffic != (Traffic{}) {
			first = s.number
		}
	}
	all := make([]span, 0, now-first+1)
	for n := first; n <= now; n++ {
		all = append(all, span{number: n, Traffic: r.of(n)})
	}
	return all
}

func minuteNumber(t time.Time) int64 { return floorDiv(t.Unix(), 60) }

func minuteOf(number int64) time.Time { return time.Unix(number*60, 0) }

const secondsOfDay = 24 * 60 * 60

// dayNumber is the same for all moments of one day of the calendar in the zone of t.
func dayNumber(t time.Time) int64 {
	year, month, day := t.Date()
	return floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), secondsOfDay)
}

// dayOf returns when the day of that number begins in a zone.
func dayOf(number int64, zone *time.Location) time.Time {
	year, month, day := time.Unix(number*secondsOfDay, 0).UTC().Date()
	return time.Date(year, month, day, 0, 0, 0, 0, zone)
}

func floorDiv(a, b int64) int64 {
	if a < 0 {
		return (a - b + 1) / b
	}
	return a / b
}

// calendar knows the number of the present day without working it out each time.
type calendar struct {
	begin, end int64 // of the day, in seconds since 1970
	number     int64
}

// day returns the number of the day of now.
func (c *calendar) day(now time.Time) int64 {
	if s := now.Unix(); s < c.begin || s >= c.end {
		c.number = dayNumber(now)
		c.begin = dayOf(c.number, now.Location()).Unix()
		c.end = dayOf(c.number+1, now.Location()).Unix()
	}
	return c.number
}

// series counts traffic since the start, by minute and by day.
type series struct {
	start   Traffic
	minutes ring
	days    ring
	today   calendar
}

func newSeries() series {
	return series{minutes: make(ring, maxMinutes), days: make(ring, maxDays)}
}

// add counts d at the moment now.
func (s *series) add(now time.Time, d Traffic) {
	s.start.add(d)
	for _, at := range []*span{s.minutes.at(minuteNumber(now)), s.days.at(s.today.day(now))} {
		at.add(d)
		at.changed = true
	}
}

// month returns the traffic since the first of the month of now.
func (s *series) month(now time.Time) (sum Traffic) {
	last := s.today.day(now)
	for n := last - int64(now.Day()) + 1; n <= last; n++ {
		sum.add(s.days.of(n))
	}
	return sum
}

// history returns all spans up to now.
func (s *series) history(now time.Time) History {
	h := History{Minutes: []Point{}, Days: []Point{}}
	for _, m := range s.minutes.until(minuteNumber(now)) {
		h.Minutes = append(h.Minutes, Point{minuteOf(m.number).In(now.Location()), m.Traffic})
	}
	for _, d := range s.days.until(s.today.day(now)) {
		h.Days = append(h.Days, Point{dayOf(d.number, now.Location()), d.Traffic})
	}
	return h
}

package page

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"mirrord/internal/status"
)

// chart is a drawing of the history: stacked bars, as wide as the page. Its text is HTML
// around the drawing, which is stretched. However little there is to draw, it has the
// same elements, so that the script can copy them from a later page.
type chart struct {
	ID, Title string
	Span      string // of a row of the table
	Summary   string // for those who do not see the drawing
	Highest   string
	Width     int // bars
	Series    []*series
	Hover     template.HTML // what the mouse finds above each bar
	Labels    []string      // below the drawing, first and last at its ends
	Rows      []row
}

// series is one color of the bars.
type series struct {
	Class, Name string
	Total       string
	total       float64
	path        strings.Builder
}

// Path draws the bars in an SVG that is 100 high.
func (s *series) Path() string { return s.path.String() }

type row struct {
	Name   string
	Values []string
}

// subject is what a chart is about.
type subject struct {
	id, title string
	noun      string
	classes   []string
	names     []string
	values    func(status.Traffic) []float64 // one for each name
	format    func(any) string
}

var subjects = []subject{
	{
		id: "requests", title: "Requests", noun: "requests", format: count,
		classes: []string{"hit", "miss", "failed"}, names: []string{"Hits", "Misses", "Failed"},
		values: func(t status.Traffic) []float64 {
			hits := min(t.Hits, max(0, t.Requests-t.Failed))
			return []float64{float64(hits), float64(max(0, t.Requests-t.Failed-hits)), float64(t.Failed)}
		},
	},
	{
		id: "bytes", title: "Bytes", noun: "", format: size,
		classes: []string{"hit", "miss"}, names: []string{"From the cache", "Fetched"},
		values: func(t status.Traffic) []float64 { return []float64{float64(t.BytesSaved()), float64(t.Fetched)} },
	},
}

// charts draws the history up to now.
func charts(h status.History, now time.Time) (all []chart) {
	for _, s := range subjects {
		for _, p := range []period{lastDay(h.Minutes, now), lastYear(h.Days, now)} {
			all = append(all, draw(s, p))
		}
	}
	return all
}

func draw(s subject, p period) chart {
	c := chart{ID: s.id + "-" + p.id, Title: s.title + ", " + p.title, Span: p.span, Width: len(p.sums)}
	for i, name := range s.names {
		c.Series = append(c.Series, &series{Class: s.classes[i], Name: name})
	}
	top, at := 0.0, 0
	for i, sum := range p.sums {
		if n := total(s.values(sum)); n > top {
			top, at = n, i
		}
	}
	c.Highest = "nothing yet"
	if top > 0 {
		c.Highest = fmt.Sprintf("peak %s in %s", strings.TrimSpace(s.format(top)+" "+s.noun), p.bar)
	}
	var titles strings.Builder
	for i, sum := range p.sums {
		values := s.values(sum)
		c.stack(i, values, top)
		hover(&titles, i, p.name(i)+": "+c.describe(values, s.format))
	}
	var totals []float64
	for _, one := range c.Series {
		one.Total = s.format(one.total)
		totals = append(totals, one.total)
	}
	c.Summary = fmt.Sprintf("In the %s: %s.", p.title, c.describe(totals, s.format))
	if top > 0 {
		c.Summary += fmt.Sprintf(" The highest bar is that of %s, with %s.", p.name(at), s.format(top))
	}
	c.Hover, c.Labels, c.Rows = template.HTML(titles.String()), p.labels(), p.rows(s)
	return c
}

// stack adds the values of the bar at x, the first at the bottom, to the paths.
func (c *chart) stack(x int, values []float64, top float64) {
	width := ".8"
	if c.Width > 100 {
		width = "1" // on a screen a gap would be a part of a pixel
	}
	y := 100.0
	for i, one := range c.Series {
		one.total += values[i]
		if values[i] <= 0 {
			continue
		}
		height := 100 * values[i] / top
		y -= height
		fmt.Fprintf(&one.path, "M%d %.2fh%sv%.2fH%dz", x, y, width, height, x)
	}
}

// hover adds a title to the bar at x. There are many: the template would take most of the
// page's time for them.
func hover(to *strings.Builder, x int, title string) {
	fmt.Fprintf(to, `<rect class="hover" x="%d" width="1" height="100"><title data-fresh>%s</title></rect>`, x, template.HTMLEscapeString(title))
}

// describe lists values by their names.
func (c *chart) describe(values []float64, format func(any) string) string {
	var parts []string
	for i, one := range c.Series {
		parts = append(parts, format(values[i])+" "+strings.ToLower(one.Name))
	}
	return strings.Join(parts, ", ")
}

func total(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// period is a part of the history in bars of the same length.
type period struct {
	id, title string
	bar, span string // what a bar is, and a row of the table
	begins    []time.Time
	sums      []status.Traffic
	layouts   layouts
}

// layouts say how the beginning of a bar is written.
type layouts struct{ bar, row, label string }

const barMinutes = 15 * time.Minute

// lastDay has a bar for each quarter of an hour, the last with now.
func lastDay(minutes []status.Point, now time.Time) period {
	p := period{id: "day", title: "last 24 hours", bar: "15 minutes", span: "Hour", layouts: layouts{"Mon 15:04", "Mon 15:00", "15:04"}}
	last := now.Truncate(barMinutes)
	p.sum(minutes, 96, func(t time.Time) int { return int(last.Sub(t.Truncate(barMinutes)) / barMinutes) },
		func(age int) time.Time { return last.Add(-time.Duration(age) * barMinutes) })
	return p
}

// lastYear has a bar for each day, the last for today.
func lastYear(days []status.Point, now time.Time) period {
	p := period{id: "year", title: "last year", bar: "a day", span: "Month", layouts: layouts{"2006-01-02", "2006-01", "2 Jan"}}
	p.sum(days, 366, func(t time.Time) int { return int(date(now).Sub(date(t.In(now.Location()))) / (24 * time.Hour)) },
		func(age int) time.Time { return date(now).AddDate(0, 0, -age) })
	return p
}

// date is the day of t in its own zone, such that days are 24 hours apart.
func date(t time.Time) time.Time {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// sum adds points up to n bars. age is how many bars before the last one a time is.
func (p *period) sum(points []status.Point, n int, age func(time.Time) int, begin func(age int) time.Time) {
	p.sums = make([]status.Traffic, n)
	for i := range n {
		p.begins = append(p.begins, begin(n-1-i))
	}
	for _, point := range points {
		if i := n - 1 - age(point.Time); i >= 0 && i < n {
			p.sums[i] = add(p.sums[i], point.Traffic)
		}
	}
}

// add adds what charts show.
func add(a, b status.Traffic) status.Traffic {
	return status.Traffic{
		Requests: a.Requests + b.Requests, Hits: a.Hits + b.Hits, Failed: a.Failed + b.Failed,
		Bytes: a.Bytes + b.Bytes, Fetched: a.Fetched + b.Fetched,
	}
}

func (p *period) name(i int) string { return p.begins[i].Format(p.layouts.bar) }

// labels are of five bars, evenly apart.
func (p *period) labels() (all []string) {
	for i := range 4 {
		all = append(all, p.begins[i*len(p.begins)/4].Format(p.layouts.label))
	}
	return append(all, p.begins[len(p.begins)-1].Format(p.layouts.label))
}

// rows are the bars added up to hours or months, the latest first.
func (p *period) rows(s subject) (all []row) {
	var sum status.Traffic
	for i, begin := range p.begins {
		sum = add(sum, p.sums[i])
		name := begin.Format(p.layouts.row)
		if i+1 < len(p.begins) && p.begins[i+1].Format(p.layouts.row) == name {
			continue
		}
		r := row{Name: name}
		for _, v := range s.values(sum) {
			r.Values = append(r.Values, s.format(v))
		}
		all, sum = append(all, r), status.Traffic{}
	}
	slices.Reverse(all)
	return all
}

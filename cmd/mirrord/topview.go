package main

import (
	"fmt"
	"strings"
	"time"

	"mirrord/internal/status"
)

// topLines is the height of a table where no terminal has another.
const topLines = 24

// topView is a status, and how fast its figures grow.
type topView struct {
	status.Status
	at time.Time // when it came

	sent, fetched, requests float64 // a second
	images, clients         map[string]float64
}

// newTopView returns a view of the first status.
func newTopView(s status.Status) *topView {
	return &topView{Status: s, at: time.Now(), images: map[string]float64{}, clients: map[string]float64{}}
}

// next returns the view of the status that follows that of v, which may be nil.
func (v *topView) next(s status.Status) *topView {
	next := newTopView(s)
	if v == nil {
		return next
	}
	took := s.Now.Sub(v.Now).Seconds()
	if took <= 0 {
		return next
	}
	rate := func(now, before int64) float64 { return float64(max(0, now-before)) / took }
	next.sent, next.fetched, next.requests = rate(s.Start.Bytes, v.Start.Bytes), rate(s.Start.Fetched, v.Start.Fetched), rate(s.Start.Requests, v.Start.Requests)
	grow := func(rates map[string]float64, now, before []status.Use) {
		known := make(map[string]int64)
		for _, u := range before {
			known[u.Name] = u.Bytes
		}
		for _, u := range now {
			rates[u.Name] = rate(u.Bytes, known[u.Name])
		}
	}
	grow(next.images, s.Images, v.Images)
	grow(next.clients, s.Clients, v.Clients)
	return next
}

// quietAfter is how long after an update nothing is known to happen: updates come each
// second while something does.
const quietAfter = 2 * time.Second

// quiet sets the rates to zero when no update has come for some time, and reports whether
// it has.
func (v *topView) quiet() bool {
	if time.Since(v.at) < quietAfter {
		return false
	}
	v.sent, v.fetched, v.requests = 0, 0, 0
	clear(v.images)
	clear(v.clients)
	return true
}

// table returns what is shown in that many lines.
func (v *topView) table(height int) string {
	b := &statusText{width: screenWidth}
	_, _ = fmt.Fprintf(b, "mirrord %s: %s sent, %s fetched, %.0f requests/s; downloads: %d\n", v.Version, rateText(v.sent), rateText(v.fetched), v.requests, len(v.Fills))
	for _, u := range v.Budgets {
		_, _ = fmt.Fprintf(b, "pulls of %s\n", budgetLine(b, u, v.Now))
		if u.State != "ok" {
			_, _ = fmt.Fprintf(b, "  %s\n", printable(u.State))
		}
	}
	for _, p := range v.Errors {
		if !p.Minor {
			_, _ = fmt.Fprintln(b, problemLine(b, p, v.Now))
			break
		}
	}
	const heads = 6 // of three tables, with an empty line each
	rows := max(3, (height-strings.Count(b.String(), "\n")-heads)/3)
	writeUses(b, "CLIENT", v.Clients, rows, v.clients)
	writeUses(b, "IMAGE", v.Images, rows, v.images)
	writeFills(b, v.Status, rows)
	if v.Withheld {
		b.WriteString("\nNames are not shown without the mirror's token: run this as root or its user.\n")
	}
	return b.String()
}

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bandwidth limits the downloads from an upstream at certain times of the week, in
// the local time zone.
type Bandwidth struct {
	Limit Size   // bytes in a second, of all downloads together; more than 0
	From  string // HH:MM; empty: midnight
	To    string // HH:MM, before From for a time past midnight; empty: midnight
	Days  string // such as mon-fri or sat,sun, on which From is; empty: every day
}

var bandwidths = list[Bandwidth]{
	table: table[Bandwidth]{
		scalar("limit", parseRate, func(b *Bandwidth) *Size { return &b.Limit }).
			required("has no limit; write how much may be downloaded in a second, such as 20MiB"),
		scalar("from", parseClock, func(b *Bandwidth) *string { return &b.From }),
		scalar("to", parseClock, func(b *Bandwidth) *string { return &b.To }),
		scalar("days", parseDays, func(b *Bandwidth) *string { return &b.Days }),
	},
}

// BandwidthAt returns how many bytes may be downloaded in a second at that time; 0 means no
// limit.
func BandwidthAt(limits []Bandwidth, now time.Time) int64 {
	for _, b := range limits {
		if b.applies(now) {
			return int64(b.Limit)
		}
	}
	return 0
}

func (b Bandwidth) applies(now time.Time) bool {
	clock := now.Format("15:04")
	yesterday := now.AddDate(0, 0, -1)
	switch {
	case b.To == "" || b.From < b.To:
		return b.on(now) && clock >= b.From && (b.To == "" || clock < b.To)
	case clock >= b.From:
		return b.on(now)
	}
	return clock < b.To && b.on(yesterday)
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// on reports whether the day of t is one of b's.
func (b Bandwidth) on(t time.Time) bool {
	for days := range strings.SplitSeq(b.Days, ",") {
		first, last, isRange := strings.Cut(days, "-")
		if !isRange {
			last = first
		}
		from, to, day := slices.Index(weekdays, first), slices.Index(weekdays, last), int(t.Weekday())
		if from <= to && from <= day && day <= to || from > to && (day >= from || day <= to) {
			return true
		}
	}
	return b.Days == ""
}

var (
	clockRE = regexp.MustCompile(`^(?:[01][0-9]|2[0-3]):[0-5][0-9]$`)
	daysRE  = regexp.MustCompile(`^DAY(?:-DAY)?(?:,DAY(?:-DAY)?)*$`)
	dayRE   = regexp.MustCompile(`\b(?:` + strings.Join(weekdays, "|") + `)\b`)
)

// minRate is a bandwidth below which downloads would seem to stall.
const minRate = 64 << 10

func parseRate(s string) (Size, error) {
	size, err := parseSize(s)
	if err == nil && size < minRate {
		err = fmt.Errorf("%q is too little for downloads to go on; write 64KiB or more", s)
	}
	return size, err
}

// parseRateLimit accepts a rate, or 0 for no limit.
func parseRateLimit(s string) (Size, error) {
	if size, err := parseSize(s); err == nil && size == 0 {
		return 0, nil
	}
	size, err := parseRate(s)
	if err != nil {
		err = fmt.Errorf("%w, or 0 for no limit", err)
	}
	return size, err
}

func parseClock(s string) (string, error) {
	if !clockRE.MatchString(s) {
		return "", fmt.Errorf("%q is not a time of day; write 00:00 to 23:59", s)
	}
	return s, nil
}

func parseDays(s string) (string, error) {
	if !daysRE.MatchString(dayRE.ReplaceAllString(s, "DAY")) || strings.Contains(s, "DAY") {
		return "", fmt.Errorf("%q is not a list of days; write for example mon-fri or sat,sun", s)
	}
	return s, nil
}

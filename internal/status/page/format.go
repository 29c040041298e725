package page

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	space   = "\u00a0" // between a number and its unit
	unknown = "–"
)

// formats turn values of a status into text. Those of status.js have the same names, and
// give the same text to the letter: both compute in float64.
var formats = map[string]func(now time.Time, v []any) string{
	"text":         one(text),
	"digest":       one(shortDigest),
	"count":        one(count),
	"requests":     one(plural("request")),
	"times":        one(plural("time")),
	"waiters":      one(plural("waiter")),
	"hosts":        one(plural("host")),
	"images":       one(plural("image")),
	"bytes":        one(size),
	"rate":         one(func(v any) string { return size(v) + "/s" }),
	"duration":     one(seconds),
	"millis":       one(millis),
	"moment":       one(moment),
	"image":        two(image),
	"either":       two(func(a, b any) string { return cmp.Or(text(a), text(b)) }),
	"percent":      two(percent),
	"part":         two(part),
	"left":         two(left),
	"received":     two(received),
	"saved":        two(func(sent, fetched any) string { return size(saved(sent, fetched)) }),
	"savedpercent": two(func(sent, fetched any) string { return percent(saved(sent, fetched), sent) }),
	"needs":        func(_ time.Time, v []any) string { return needs(v[0], v[1], v[2]) },
	"ago":          func(now time.Time, v []any) string { return since(now, v[0], " ago") },
	"elapsed":      func(now time.Time, v []any) string { return since(now, v[0], "") },
	"until":        func(now time.Time, v []any) string { return until(now, v[0], "within ") },
	"due":          func(now time.Time, v []any) string { return until(now, v[0], "in ") },
}

func one(f func(any) string) func(time.Time, []any) string {
	return func(_ time.Time, v []any) string { return f(v[0]) }
}

func two(f func(a, b any) string) func(time.Time, []any) string {
	return func(_ time.Time, v []any) string { return f(v[0], v[1]) }
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// image is the upstream alone where names are left out.
func image(upstream, repository any) string {
	a, b := text(upstream), text(repository)
	if a == "" || b == "" {
		return a + b
	}
	return a + "/" + b
}

func shortDigest(v any) string {
	digest := text(v)
	return digest[:min(len(digest), len("sha256:")+12)]
}

func count(v any) string {
	n, ok := v.(float64)
	if !ok {
		return unknown
	}
	digits := strconv.FormatFloat(math.Floor(n), 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func plural(noun string) func(any) string {
	return func(v any) string {
		if v == 1.0 {
			return count(v) + space + noun
		}
		return count(v) + space + noun + "s"
	}
}

// percent rounds down: 100 % are all.
func percent(share, whole any) string {
	a, _ := share.(float64)
	b, _ := whole.(float64)
	if b <= 0 {
		return unknown
	}
	return fixed(math.Floor(1000*(a/b))/10, 1) + space + "%"
}

func saved(sent, fetched any) any {
	a, ok := sent.(float64)
	b, _ := fetched.(float64)
	if !ok {
		return nil
	}
	return math.Max(0, a-b)
}

// size has three digits, rounded down.
func size(v any) string {
	n, ok := v.(float64)
	if !ok || n < 0 {
		return unknown
	}
	unit := 0
	for ; n >= 1024 && unit < len(units)-1; unit++ {
		n /= 1024
	}
	switch {
	case unit == 0 || n >= 100:
		return fixed(math.Floor(n), 0) + space + units[unit]
	case n >= 10:
		return fixed(math.Floor(n*10)/10, 1) + space + units[unit]
	}
	return fixed(math.Floor(n*100)/100, 2) + space + units[unit]
}

var units = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

func fixed(n float64, decimals int) string { return strconv.FormatFloat(n, 'f', decimals, 64) }

// left is what remains of a limit, either of which may be unknown.
func left(remaining, limit any) string {
	switch {
	case remaining == nil && limit == nil:
		return "no limit known"
	case remaining == nil:
		return "unknown, of " + count(limit)
	case limit == nil:
		return count(remaining)
	}
	return count(remaining) + " of " + count(limit)
}

// part is the share of a whole, 0 to 1, for <meter> and <progress>; empty if unknown.
func part(share, whole any) string {
	a, ok := share.(float64)
	b, _ := whole.(float64)
	if !ok || b <= 0 {
		return ""
	}
	return fixed(math.Floor(1000*math.Min(1, math.Max(0, a/b)))/1000, 3)
}

// seconds has at most two units, rounded down.
func seconds(v any) string {
	n, ok := v.(float64)
	if !ok {
		return unknown
	}
	n = math.Floor(math.Max(0, n))
	minutes, hours, days := math.Floor(n/60), math.Floor(n/3600), math.Floor(n/86400)
	switch {
	case n < 60:
		return quantity(n, "s")
	case n < 600:
		return join(quantity(minutes, "min"), n-60*minutes, "s")
	case n < 3600:
		return quantity(minutes, "min")
	case n < 86400:
		return join(quantity(hours, "h"), minutes-60*hours, "min")
	case n < 30*86400:
		return join(quantity(days, "d"), hours-24*days, "h")
	}
	return quantity(days, "d")
}

// millis is a short time.
func millis(v any) string {
	n, ok := v.(float64)
	if !ok {
		return unknown
	}
	return count(math.Round(n*1000)) + space + "ms"
}

func quantity(n float64, unit string) string { return fixed(n, 0) + space + unit }

func join(first string, n float64, unit string) string {
	if n == 0 {
		return first
	}
	return first + space + quantity(n, unit)
}

// moment is a time in the mirror's zone, to the second.
func moment(v any) string {
	raw := text(v)
	if len(raw) < len("2006-01-02T15:04:05Z") {
		return unknown
	}
	zone := strings.TrimLeft(raw[19:], ".0123456789")
	if zone == "Z" {
		zone = "UTC"
	}
	return raw[:10] + space + raw[11:19] + space + zone
}

// instant returns a time in milliseconds, as precise as it is in JavaScript.
func instant(v any) (float64, bool) {
	raw, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, raw)
	return float64(t.UnixMilli()), err == nil && !t.IsZero()
}

func since(now time.Time, v any, suffix string) string {
	t, ok := instant(v)
	if !ok {
		return unknown
	}
	return seconds((float64(now.UnixMilli())-t)/1000) + suffix
}

func until(now time.Time, v any, prefix string) string {
	t, ok := instant(v)
	if !ok {
		return "at an unknown time"
	}
	return prefix + seconds((t-float64(now.UnixMilli()))/1000)
}

// received is what of a download has come.
func received(n, whole any) string {
	if b, _ := whole.(float64); b < 0 {
		return size(n) + ", size unknown"
	}
	return size(n) + " of " + size(whole)
}

// needs is how long the rest of a download takes; empty if unknown.
func needs(n, whole, rate any) string {
	a, _ := n.(float64)
	b, _ := whole.(float64)
	r, _ := rate.(float64)
	if b < 0 || r <= 0 {
		return ""
	}
	return seconds((b-a)/r) + " left"
}

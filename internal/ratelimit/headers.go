package ratelimit

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// quota is a quota in the headers of one response.
type quota struct {
	limit     int
	window    time.Duration // 0: not reported
	remaining int           // may be negative
	reset     time.Time     // end of the window; zero: not reported
}

// Longer times are ignored as invalid.
const (
	maxWindow = 366 * 24 * time.Hour
	maxReset  = 31 * 24 * time.Hour
)

// parseHeaders parses a quota in any of the formats that registries send; false
// when there is none. It needs both the limit and the remainder.
func parseHeaders(h http.Header, now time.Time) (quota, bool) {
	for _, read := range []func(http.Header, time.Time) (quota, bool){fields("RateLimit-"), policies, dictionary, fields("X-RateLimit-")} {
		if q, ok := read(h, now); ok {
			return q, true
		}
	}
	return quota{}, false
}

// fields parses Docker's headers, which are those of the first drafts of the RFC:
// RateLimit-Limit: 100;w=21600, RateLimit-Remaining, RateLimit-Reset.
func fields(prefix string) func(http.Header, time.Time) (quota, bool) {
	return func(h http.Header, now time.Time) (quota, bool) {
		limit, window, ok := parseQuota(h.Get(prefix + "Limit"))
		if !ok {
			return quota{}, false
		}
		remaining, _, ok := parseQuota(h.Get(prefix + "Remaining"))
		if !ok {
			return quota{}, false
		}
		reset, _, _ := strings.Cut(h.Get(prefix+"Reset"), ";")
		return quota{limit: limit, window: window, remaining: remaining, reset: resetAt(reset, now)}, limit >= 0
	}
}

// dictionary parses draft 7: RateLimit: limit=100, remaining=50, reset=5.
func dictionary(h http.Header, now time.Time) (quota, bool) {
	d, err := httpsfv.UnmarshalDictionary(h.Values("RateLimit"))
	if err != nil {
		return quota{}, false
	}
	number := func(name string) (int, bool) {
		member, _ := d.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok {
			return 0, false
		}
		return integer(item.Value)
	}
	limit, ok := number("limit")
	remaining, left := number("remaining")
	if !ok || !left || limit < 0 {
		return quota{}, false
	}
	q := quota{limit: limit, remaining: remaining}
	if seconds, ok := number("reset"); ok {
		q.reset = resetAt(strconv.Itoa(seconds), now)
	}
	if n, window, ok := parseQuota(h.Get("RateLimit-Policy")); ok && n == limit {
		q.window = window
	}
	return q, true
}

// policies parses draft 8 and later: RateLimit: "a";r=50;t=30 together with
// RateLimit-Policy: "a";q=100;w=60. Of several policies it returns the one with the
// smallest share left.
func policies(h http.Header, now time.Time) (quota, bool) {
	left, err := httpsfv.UnmarshalList(h.Values("RateLimit"))
	if err != nil {
		return quota{}, false
	}
	allowed, err := httpsfv.UnmarshalList(h.Values("RateLimit-Policy"))
	if err != nil {
		return quota{}, false
	}
	var tightest quota
	found := false
	for _, member := range left {
		q, ok := policy(member, allowed, now)
		if ok && (!found || q.share() < tightest.share()) {
			tightest, found = q, true
		}
	}
	return tightest, found
}

// policy combines the remainder of one policy with its limit.
func policy(left httpsfv.Member, allowed httpsfv.List, now time.Time) (quota, bool) {
	is, ok := left.(httpsfv.Item)
	if !ok || nameOf(is) == "" {
		return quota{}, false
	}
	for _, member := range allowed {
		item, ok := member.(httpsfv.Item)
		if !ok || nameOf(item) != nameOf(is) {
			continue
		}
		limit, ok := parameter(item, "q")
		remaining, hasRemaining := parameter(is, "r")
		if !ok || !hasRemaining || limit < 0 {
			return quota{}, false
		}
		q := quota{limit: limit, remaining: remaining}
		if w, ok := parameter(item, "w"); ok {
			q.window = seconds(w)
		}
		if t, ok := parameter(is, "t"); ok {
			q.reset = resetAt(strconv.Itoa(t), now)
		}
		return q, true
	}
	return quota{}, false
}

// nameOf returns the name of a policy, which the drafts write as a string or a
// token; it is empty for anything else.
func nameOf(item httpsfv.Item) string {
	switch name := item.Value.(type) {
	case string:
		return name
	case httpsfv.Token:
		return string(name)
	}
	return ""
}

func (q quota) share() float64 { return float64(q.remaining) / math.Max(float64(q.limit), 1) }

func parameter(item httpsfv.Item, name string) (int, bool) {
	if item.Params == nil {
		return 0, false
	}
	value, _ := item.Params.Get(name)
	return integer(value)
}

func integer(value any) (int, bool) {
	n, ok := value.(int64)
	return int(n), ok
}

// seconds returns a window of n seconds, or 0 if n is out of range.
func seconds(n int) time.Duration {
	if n <= 0 || n > int(maxWindow/time.Second) {
		return 0
	}
	return time.Duration(n) * time.Second
}

// resetAt parses the end of a window: seconds from now or, for a large number,
// seconds since 1970. It is zero for an invalid value.
func resetAt(s string, now time.Time) time.Time {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return time.Time{}
	}
	if n > epoch {
		n -= now.Unix()
	}
	if n <= 0 || n > int64(maxReset/time.Second) {
		return time.Time{}
	}
	return now.Add(time.Duration(n) * time.Second)
}

// parseQuota parses "100;w=21600": a signed number and a window in seconds. More
// policies may follow after commas: it returns the first number and, if that has no
// window, the window of another policy with the same number.
func parseQuota(s string) (n int, window time.Duration, ok bool) {
	for policy := range strings.SplitSeq(s, ",") {
		number, w, valid := parsePolicy(policy)
		if !valid {
			return n, window, ok
		}
		if !ok {
			n, ok = number, true
		}
		if number == n && window == 0 {
			window = w
		}
	}
	return n, window, ok
}

func parsePolicy(s string) (n int, window time.Duration, ok bool) {
	number, parameters, _ := strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil {
		return 0, 0, false
	}
	for parameter := range strings.SplitSeq(parameters, ";") {
		if w, found := strings.CutPrefix(strings.TrimSpace(parameter), "w="); found {
			if n, err := strconv.Atoi(w); err == nil {
				window = seconds(n)
			}
		}
	}
	return n, window, true
}

package ratelimit

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"mirrord/internal/oci"
)

const (
	maxErrorBody = 1 << 10 // bytes of the body of a 429 that are read

	// Bounds for Retry-After. Without one the limit lasts from minRetry to defaultRetry.
	minRetry     = time.Second
	maxRetry     = 15 * time.Minute
	defaultRetry = time.Minute

	epoch = 1_000_000_000 // a larger number is in seconds since 1970: as a duration it would be 31 years
)

// limitError distinguishes the two kinds of 429: the pull limit sends the JSON
// errors of the registry, the abuse limiter plain text. RetryAt is zero when the
// response has no Retry-After.
func limitError(upstream string, h http.Header, body []byte, now time.Time) *oci.LimitError {
	e := &oci.LimitError{
		Kind:     oci.LimitRequests,
		Upstream: upstream,
		Message:  plainText(h, body),
		RetryAt:  retryAt(h.Get("Retry-After"), now),
	}
	var spec struct {
		Errors []struct{ Message string }
	}
	if json.Unmarshal(body, &spec) == nil && len(spec.Errors) > 0 {
		e.Kind, e.Message = oci.LimitPulls, printable(spec.Errors[0].Message)
	}
	return e
}

// plainText returns the first line of a plain text body, or the status text when
// there is none, as for a HEAD. It repeats no other body: those of storage hosts
// contain the signed URL.
func plainText(h http.Header, body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if line == "" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || strings.ContainsAny(line, "?<") {
		return http.StatusText(http.StatusTooManyRequests)
	}
	return printable(line)
}

func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
}

// retryAt parses Retry-After: seconds or a date according to RFC 9110, or seconds
// since 1970, which Docker has sent. It returns the zero time for anything else.
func retryAt(s string, now time.Time) time.Time {
	var wait time.Duration
	if n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if n > epoch {
			n -= now.Unix()
		}
		wait = time.Duration(min(max(n, 0), int64(maxRetry/time.Second))) * time.Second
	} else if date, err := http.ParseTime(s); err == nil {
		wait = date.Sub(now)
	} else {
		return time.Time{}
	}
	return now.Add(min(max(wait, minRetry), maxRetry))
}

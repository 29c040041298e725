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
	maxWords = 1 << 10 // bytes read of what an upstream says of a refusal

	// What Retry-After may ask for, and what is waited without one.
	minRetry     = time.Second
	maxRetry     = 15 * time.Minute
	defaultRetry = time.Minute

	epoch = 1_000_000_000 // a larger number is a second since 1970: as a time to wait it would be 31 years
)

// limitError tells the two kinds of 429 apart: the pull limit speaks the
// registry's JSON, the abuse limiter plain text.
func limitError(upstream string, h http.Header, body []byte, now time.Time) *oci.LimitError {
	e := &oci.LimitError{
		Kind:     oci.LimitRequests,
		Upstream: upstream,
		Message:  plainWords(h, body),
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

// plainWords returns the first line of a plain text, which the answer to a HEAD
// has none of. Of anything else nothing is repeated: storage hosts put the
// signed link into theirs.
func plainWords(h http.Header, body []byte) string {
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

// retryAt reads Retry-After: seconds or a date as RFC 9110 has it, or a moment
// in seconds since 1970, which Docker has sent.
func retryAt(s string, now time.Time) time.Time {
	wait := defaultRetry
	if n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if n > epoch {
			n -= now.Unix()
		}
		wait = time.Duration(min(max(n, 0), int64(maxRetry/time.Second))) * time.Second
	} else if date, err := http.ParseTime(s); err == nil {
		wait = date.Sub(now)
	}
	return now.Add(min(max(wait, minRetry), maxRetry))
}

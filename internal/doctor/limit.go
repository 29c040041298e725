package doctor

import (
	"fmt"
	"time"

	"mirrord/internal/ratelimit"
)

// limit is the check of what one credential has left of its pull limit.
func limit(b ratelimit.Budget, reserve func(limit int) int) Check {
	what := fmt.Sprintf("pull limit of %s, %s", b.Upstream, b.Credential)
	left := "no limit is known"
	if b.Known() {
		left = fmt.Sprintf("%d of %d pulls left", b.Remaining, b.Limit)
	}
	if b.Known() && b.Remaining < b.Limit && !b.ResetBy.IsZero() {
		left += ", all of them again by " + moment(b.ResetBy)
	}
	const hint = "what is cached is served meanwhile: wait, or give the mirror a login with a higher limit; mirrord top shows who pulls"
	switch {
	case !b.RequestsAt.IsZero():
		return Check{what, Warn, "no request is sent before " + moment(b.RequestsAt) + ": the registry refuses all of this address; " + left, "wait, and see what else sends requests from this network"}
	case !b.PullsAt.IsZero():
		return Check{what, Warn, "no pull is sent before " + moment(b.PullsAt) + "; " + left, hint}
	case b.Known() && b.Remaining <= 0:
		return Check{what, Warn, left, hint}
	case b.Known() && b.Remaining <= reserve(b.Limit):
		return Check{what, Warn, left + "; these are reserved for images that are not cached (quota.reserve)", hint}
	}
	return Check{what, OK, left, ""}
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

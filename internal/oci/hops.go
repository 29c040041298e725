package oci

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// ErrLoop marks a request that has come back to a mirror that it had passed through.
var ErrLoop = errors.New("the mirror is its own upstream")

// maxHops is how many mirrors a request may pass through.
const maxHops = 8

type hopsKey struct{}

// WithHops returns a context for a request that has passed through these mirrors,
// named as in Via: RFC 9110, section 7.6.3.
func WithHops(ctx context.Context, hops []string) context.Context {
	if len(hops) == 0 {
		return ctx
	}
	return context.WithValue(ctx, hopsKey{}, hops)
}

// Hops returns the mirrors that the request of ctx has passed through.
func Hops(ctx context.Context) []string {
	hops, _ := ctx.Value(hopsKey{}).([]string)
	return hops
}

var mirrorRE = regexp.MustCompile(`^mirrord-[a-z0-9]{1,32}$`)

// ParseVia returns the mirrors in the values of a Via header; it ignores whatever else
// is in them. It fails with ErrLoop when own is among them, or when there are too many.
func ParseVia(values []string, own string) ([]string, error) {
	var hops []string
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if fields := strings.Fields(entry); len(fields) >= 2 && mirrorRE.MatchString(fields[1]) {
			hops = append(hops, fields[1])
		}
	}
	if slices.Contains(hops, own) || len(hops) > maxHops {
		return nil, Errorf(Unavailable, "%w: the request has passed through %s already (check the urls under upstreams)", ErrLoop, strings.Join(hops[:min(len(hops), maxHops+1)], ", "))
	}
	return hops, nil
}

// FormatVia returns the value of a Via header for a request that own sends on.
func FormatVia(hops []string, own string) string {
	return "1.1 " + strings.Join(append(slices.Clip(hops), own), ", 1.1 ")
}

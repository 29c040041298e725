package oci

import (
	"context"
	"time"
)

type maxAgeKey struct{}

// WithMaxAge returns a context for a caller whom it suffices what a tag named no longer
// than age ago, when another mirror asked the upstream (RFC 9111, section 5.2.1.1). Other
// callers want the upstream to be asked.
func WithMaxAge(ctx context.Context, age time.Duration) context.Context {
	return context.WithValue(ctx, maxAgeKey{}, age)
}

// MaxAge returns the age that WithMaxAge has set, or 0.
func MaxAge(ctx context.Context) time.Duration {
	age, _ := ctx.Value(maxAgeKey{}).(time.Duration)
	return age
}

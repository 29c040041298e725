package telemetry

import (
	"context"
	"strconv"

	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
)

// privateRule is the name under which refusals of private content are counted.
const privateRule = "access.private"

// MembershipHooks returns hooks that count refusals of private content, and failures of
// the index.
func MembershipHooks(log *zap.Logger, m *Metrics) membership.Hooks {
	refused := Refused(log, m)
	return membership.Hooks{
		Refused: func(ctx context.Context, upstream, repository, reference string, err error) {
			refused(ctx, access.Refusal{
				Client: oci.ClientOf(ctx), Rule: privateRule, Upstream: upstream, Repository: repository, Reference: reference, Err: err,
			})
		},
		IndexFailed: indexFailed(log, m),
	}
}

// Refused returns an observer that counts what rules refuse, and logs what they would
// refuse if they were not on trial: the rest is in the access log.
func Refused(log *zap.Logger, m *Metrics) func(context.Context, access.Refusal) {
	return func(_ context.Context, r access.Refusal) {
		m.refusals.WithLabelValues(r.Rule, strconv.FormatBool(r.DryRun)).Inc()
		if !r.DryRun {
			return
		}
		log.Warn("dry run: this pull would be denied", zap.String("rule", r.Rule),
			zap.String("upstream", r.Upstream), zap.String("repository", r.Repository), zap.String("reference", r.Reference),
			zap.String("client", r.Client.Key().String()), zap.NamedError("reason", r.Err))
	}
}

package telemetry

import (
	"context"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mirrord/internal/access"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
)

// privateRule is the name under which refusals of private content are counted.
const privateRule = "access.private"

// MembershipHooks returns hooks that count refusals of private content and write them to
// the audit log, and that count failures of the index.
func MembershipHooks(log *zap.Logger, m *Metrics, audit *Audit) membership.Hooks {
	refused := Refused(log, m, audit)
	return membership.Hooks{
		Refused: func(ctx context.Context, upstream, repository, reference string, err error) {
			refused(ctx, access.Refusal{
				Client: oci.ClientOf(ctx), Rule: privateRule, Upstream: upstream, Repository: repository, Reference: reference, Err: err,
			})
		},
		IndexFailed: indexFailed(log, m),
	}
}

// Refused returns an observer that counts what rules refuse, writes it to the audit log,
// and logs what they would refuse if they were not on trial: the rest is in the access
// log.
func Refused(log *zap.Logger, m *Metrics, audit *Audit) func(context.Context, access.Refusal) {
	return func(_ context.Context, r access.Refusal) {
		audit.Refused(r)
		m.refusals.WithLabelValues(r.Rule, strconv.FormatBool(r.DryRun)).Inc()
		if !r.DryRun {
			return
		}
		log.Warn("dry run: this pull would be denied", zap.String("rule", r.Rule),
			zap.String("upstream", r.Upstream), zap.String("repository", r.Repository), zap.String("reference", r.Reference),
			zap.String("client", r.Client.Key().String()), zap.NamedError("reason", r.Err))
	}
}

// Lines about failed logins: someone who guesses must not fill the log.
const (
	loginLines     = 10
	loginLineEvery = 10 * time.Second
)

// LoginFailed returns an observer that counts failed logins, writes them to the audit
// log, and logs some of them.
func LoginFailed(log *zap.Logger, m *Metrics, audit *Audit) func(access.LoginFailure) {
	lines := rate.NewLimiter(rate.Every(loginLineEvery), loginLines)
	return func(f access.LoginFailure) {
		audit.LoginFailed(f)
		m.failedLogins.WithLabelValues(string(f.Method)).Inc()
		if !lines.Allow() {
			return
		}
		fields := []zap.Field{zap.String("client", f.Client.Address.String()), zap.String("method", string(f.Method)), zap.Error(f.Err)}
		if f.User != "" {
			fields = append(fields, zap.String("user", f.User))
		}
		log.Warn("login failed; mirrord_failed_logins_total counts those that are not logged, too", fields...)
	}
}

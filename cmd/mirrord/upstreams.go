package main

import (
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/login"
	"mirrord/internal/ratelimit"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// buildUpstreams makes a pool of credentials for each upstream, all of them with
// a place in the ledger.
func buildUpstreams(cfg *config.Config, ledger *ratelimit.Ledger, log *zap.Logger, metrics *telemetry.Metrics) ([]*upstream.Pool, error) {
	var pools []*upstream.Pool
	for _, u := range cfg.Upstreams {
		pool, err := buildUpstream(u, cfg.Quota.Reserve, ledger, log.With(zap.String("upstream", u.Name)), metrics)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		pools = append(pools, pool)
	}
	return pools, nil
}

// buildUpstream makes one. Its credentials share what counts, dials and resumes.
func buildUpstream(u config.Upstream, reserve config.Share, ledger *ratelimit.Ledger, log *zap.Logger, metrics *telemetry.Metrics) (*upstream.Pool, error) {
	address, err := url.Parse(u.URL)
	if err != nil {
		return nil, err
	}
	transport := metrics.Transport(u.Name, upstream.NewTransport(address))
	o := upstream.PoolOptions{
		Name:    u.Name,
		Reserve: reserve.Of,
		Aside: func(member string, err error, until time.Time) {
			log.Error("login failed; it is set aside, and tried again when its file changes, on SIGHUP or at that time",
				zap.String("credential", member), zap.Time("again", until), zap.Error(err))
		},
		Back: func(member string) { log.Info("login is used again", zap.String("credential", member)) },
	}
	for _, c := range credentials(u) {
		quota, err := ledger.Transport(u.Name, c.Name, transport)
		if err != nil {
			log.Warn("what was known of a budget is lost; the next answer tells it anew", zap.Error(err))
		}
		auth, err := newLogin(u.Name, c)
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", c.Name, err)
		}
		o.Members = append(o.Members, upstream.Member{
			Name: c.Name, Budget: quota.Budget, Stamp: auth.Stamp, Anonymous: auth.IsAnonymous(),
			Registry: upstream.New(upstream.Options{
				Name: u.Name, URL: address, Auth: auth, Transport: quota, Resumed: metrics.Resumed(u.Name),
			}),
		})
	}
	return upstream.NewPool(o), nil
}

// defaultCredential is the name of what Docker's own configuration has.
const defaultCredential = "default"

// credentials are those of the configuration, or the one that is there without.
func credentials(u config.Upstream) []config.Credential {
	if len(u.Credentials) == 0 {
		return []config.Credential{{Name: defaultCredential}}
	}
	return u.Credentials
}

// newLogin returns where the login of a credential comes from. A password file
// that cannot be read is told at the start; whatever else fails may be mended
// while the mirror runs.
func newLogin(host string, c config.Credential) (*login.Login, error) {
	switch {
	case c.PasswordFile != "":
		l := login.File(c.Username, c.PasswordFile)
		_, err := l.Authorization()
		return l, err
	case c.DockerConfig != "":
		return login.DockerConfig(c.DockerConfig, host), nil
	case c.Helper != "":
		return login.Helper(c.Helper, host), nil
	case c.Anonymous:
		return login.Anonymous(), nil
	}
	return login.Default(host), nil
}

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
// a place in the ledger, and the workers that probe hosts that fail.
func buildUpstreams(cfg *config.Config, ledger *ratelimit.Ledger, log *zap.Logger, metrics *telemetry.Metrics) (pools []*upstream.Pool, probes []runner, err error) {
	for _, u := range cfg.Upstreams {
		pool, probe, err := buildUpstream(u, cfg.Quota.Reserve, ledger, log.With(zap.String("upstream", u.Name)), metrics)
		if err != nil {
			return nil, nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		pools, probes = append(pools, pool), append(probes, probe)
	}
	return pools, probes, nil
}

// buildUpstream makes one. Its credentials share what counts, dials and resumes,
// and what is known of the hosts.
func buildUpstream(u config.Upstream, reserve config.Share, ledger *ratelimit.Ledger, log *zap.Logger, metrics *telemetry.Metrics) (*upstream.Pool, runner, error) {
	address, err := url.Parse(u.URL)
	if err != nil {
		return nil, nil, err
	}
	hosts := newHosts(u.Name, address, log, metrics)
	o := upstream.PoolOptions{
		Name:    u.Name,
		Reach:   hosts.Reach,
		Reserve: reserve.Of,
		Aside: func(member string, err error, until time.Time) {
			log.Error("login failed; it is set aside, and tried again when its file changes, on SIGHUP or at that time",
				zap.String("credential", member), zap.Time("again", until), zap.Error(err))
		},
		Back: func(member string) { log.Info("login is used again", zap.String("credential", member)) },
	}
	for _, c := range credentials(u) {
		quota, err := ledger.Transport(u.Name, c.Name, hosts)
		if err != nil {
			log.Warn("what was known of a budget is lost; the next answer tells it anew", zap.Error(err))
		}
		auth, err := newLogin(u.Name, c)
		if err != nil {
			return nil, nil, fmt.Errorf("credential %s: %w", c.Name, err)
		}
		o.Members = append(o.Members, upstream.Member{
			Name: c.Name, Budget: quota.Budget, Stamp: auth.Stamp, ReadLogin: auth.Check, Anonymous: auth.IsAnonymous(),
			Registry: upstream.New(upstream.Options{
				Name: u.Name, URL: address, Auth: auth, Transport: quota, Resumed: metrics.Resumed(u.Name),
			}),
		})
	}
	return upstream.NewPool(o), hosts.Run, nil
}

// newHosts makes the way to an upstream's hosts.
func newHosts(name string, address *url.URL, log *zap.Logger, metrics *telemetry.Metrics) *upstream.Breakers {
	hosts := upstream.NewBreakers(upstream.BreakerOptions{
		Name: name,
		URL:  address,
		Next: metrics.Transport(name, upstream.NewTransport(address)),
		Opened: func(host string, err error) {
			log.Warn("upstream host does not answer; nothing is sent to it until a probe is answered", zap.String("host", host), zap.Error(err))
		},
		Closed: func(host string) { log.Info("upstream host answers again", zap.String("host", host)) },
	})
	metrics.WatchHosts(name, hosts.Failing)
	return hosts
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

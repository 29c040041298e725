package main

import (
	"cmp"
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/login"
	"mirrord/internal/stack"
	"mirrord/internal/telemetry"
	"mirrord/internal/tracing"
)

// buildUpstreams returns the upstreams of the configuration with their logins and
// the network to them.
func buildUpstreams(cfg *config.Config, reserve func(limit int) int, log *zap.Logger, metrics *telemetry.Metrics, tracer *tracing.Tracer) ([]stack.Upstream, error) {
	var all []stack.Upstream
	for _, u := range cfg.Upstreams {
		built, err := buildUpstream(u, reserve, log.With(zap.String("upstream", u.Name)), metrics, tracer)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		all = append(all, built)
	}
	return all, nil
}

func buildUpstream(u config.Upstream, reserve func(limit int) int, log *zap.Logger, metrics *telemetry.Metrics, tracer *tracing.Tracer) (stack.Upstream, error) {
	address, err := url.Parse(u.URL)
	if err != nil {
		return stack.Upstream{}, err
	}
	if len(u.Fallbacks) > 0 {
		u.ResponseTimeout = cmp.Or(u.ResponseTimeout, failoverTimeout)
	}
	transport, err := newNetwork(u, metrics, tracer)
	if err != nil {
		return stack.Upstream{}, err
	}
	if u.Insecure {
		log.Warn("certificates of the upstream are not verified (insecure_skip_verify): whoever is between it and the mirror can read its logins and replace its tags")
	}
	built := stack.Upstream{
		Name:            u.Name,
		URL:             address,
		Prefix:          asPrefix(u.RepositoryPrefix),
		Reserve:         reserve,
		Transport:       transport(address),
		TokenHosts:      u.TokenHosts,
		ResponseTimeout: u.ResponseTimeout,
		MaxFills:        u.MaxFills,
		Hooks:           upstreamHooks(log, metrics.Resumed(u.Name)),
	}
	if built.Credentials, err = newCredentials(u); err != nil {
		return stack.Upstream{}, err
	}
	for _, text := range u.Fallbacks {
		fallback, err := newFallback(u, built, text, transport, metrics, tracer)
		if err != nil {
			return stack.Upstream{}, err
		}
		built.Fallbacks = append(built.Fallbacks, fallback)
	}
	return built, nil
}

// asPrefix returns what a repository name begins with, below repositories.
func asPrefix(repositories string) string {
	if repositories == "" {
		return ""
	}
	return repositories + "/"
}

// upstreamHooks log what happens to an upstream.
func upstreamHooks(log *zap.Logger, resumed func()) stack.UpstreamHooks {
	return stack.UpstreamHooks{
		HostFails: func(host string, err error) {
			log.Warn("upstream host is down; nothing is sent to it until a probe succeeds", zap.String("host", host), zap.Error(err))
		},
		HostRecovered: func(host string) { log.Info("upstream host is up again", zap.String("host", host)) },
		LoginFails: func(credential string, err error, until time.Time) {
			log.Error("login failed; credential disabled until its file changes, SIGHUP, or the time in \"until\"",
				zap.String("credential", credential), zap.Time("until", until), zap.Error(err))
		},
		LoginWorks: func(credential string) { log.Info("login is used again", zap.String("credential", credential)) },
		BudgetLost: func(credential string, err error) {
			log.Warn("the remembered budget cannot be read; the next response reports it again", zap.String("credential", credential), zap.Error(err))
		},
		Resumed: resumed,
	}
}

// defaultCredential is the name of the login in Docker's own configuration.
const defaultCredential = "default"

// credentials are those of the configuration, or the default one.
func credentials(u config.Upstream) []config.Credential {
	if len(u.Credentials) == 0 {
		return []config.Credential{{Name: defaultCredential}}
	}
	return u.Credentials
}

func newCredentials(u config.Upstream) ([]stack.Credential, error) {
	var all []stack.Credential
	for _, c := range credentials(u) {
		login, err := newLogin(u.Name, c)
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", c.Name, err)
		}
		all = append(all, stack.Credential{Name: c.Name, Login: login})
	}
	return all, nil
}

// newLogin returns where the login of a credential comes from. It fails when a
// password file cannot be read; whatever else fails may be fixed while the mirror
// runs.
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

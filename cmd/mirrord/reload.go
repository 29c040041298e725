package main

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/config"
	"mirrord/internal/proxy"
	"mirrord/internal/stack"
	"mirrord/internal/telemetry"
)

// reload reads everything again: the configuration, of which it applies what can be
// changed while the daemon runs, and the files that it names. A configuration that cannot
// be used is refused as a whole; why is in the log, and returned.
func (d *daemon) reload() error {
	d.reopen()
	cfg, err := d.load()
	if err == nil {
		err = d.adopt(cfg)
	}
	if err != nil {
		d.log.Error("the configuration cannot be used; the previous one stays in effect", zap.Error(err))
		return err
	}
	d.log.Info("SIGHUP: the configuration, logins, certificates and users have been read again")
	return nil
}

// reopen forgets tokens and refused logins, and reads changed certificates, users and
// tokens of clients.
func (d *daemon) reopen() {
	d.audit.Reopen()
	for _, p := range d.mirror.Pools() {
		p.Reload()
	}
	for _, door := range d.doors {
		door.certificates.Reload()
		door.auth.Reload()
	}
}

// adopt applies what can be changed while the daemon runs, and says what needs a restart.
// It fails before it has changed anything.
func (d *daemon) adopt(other *config.Config) error {
	cfg := d.cfg.Adopt(other)
	changed, restart := d.cfg.Diff(cfg), cfg.Diff(other)
	if len(restart) > 0 {
		d.log.Warn("some changed settings need a restart", zap.Strings("settings", restart))
	}
	if len(changed) == 0 {
		return nil
	}
	credentials, err := changedCredentials(d.cfg, cfg)
	if err != nil {
		return err
	}
	lists, err := warmLists(cfg)
	if err != nil {
		return err
	}
	webhooks, err := webhooksOf(cfg)
	if err != nil {
		return err
	}
	serve, err := d.prepare(cfg)
	if err != nil {
		return err
	}
	d.policy.exchange(cfg, serve)
	d.level.SetLevel(levelOf(cfg))
	d.pins.SetMax(maxPinned(cfg))
	d.mirror.SetLimits(limits(cfg))
	d.mirror.SetCredentials(credentials)
	d.lists.Set(lists)
	d.events.Set(webhooks)
	if slices.Contains(changed, "warm.lists") || slices.Contains(changed, "offline") {
		warnOfLists(cfg, lists, d.log)
	}
	d.cfg = cfg
	d.log.Info("configuration applied", zap.Strings("settings", changed))
	return nil
}

// changedCredentials returns the credentials of the upstreams that have others now. It
// fails when one cannot be read.
func changedCredentials(old, cfg *config.Config) (map[string][]stack.Credential, error) {
	changed := make(map[string][]stack.Credential)
	for i, u := range cfg.Upstreams {
		if slices.Equal(u.Credentials, old.Upstreams[i].Credentials) {
			continue
		}
		credentials, err := newCredentials(u)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		changed[u.Name] = credentials
	}
	return changed, nil
}

// limits are those of the stack.
func limits(cfg *config.Config) stack.Limits {
	return stack.Limits{Cache: cacheLimits(cfg), Tags: tagLimits(cfg), PerClient: cfg.Quota.PerClient, Offline: cfg.Offline}
}

// prepare reads who is let in by a configuration, what they may pull, and how much. It
// returns what makes the listeners serve by it, or fails and changes nothing.
func (d *daemon) prepare(cfg *config.Config) (serve func(), err error) {
	gate := d.newGate(cfg)
	var auths []*access.Auth
	for _, listener := range cfg.AllListeners() {
		auth, err := loadAuth(listener.Auth, gate)
		if err != nil {
			return nil, fmt.Errorf("listener %s: auth: %w", listener.Address, err)
		}
		auths = append(auths, auth)
	}
	options, err := d.proxyOptions(cfg)
	if err != nil {
		return nil, err
	}
	return func() {
		for i, listener := range cfg.AllListeners() {
			options.Upstream = listener.Upstream
			registry := proxy.New(options)
			identified := telemetry.RequestIDs(gate.Handler(auths[i], registry, registry.Refuse))
			d.handlers[i].set(d.tracer.Handler(identified, d.self.is))
			d.doors[i].auth = auths[i]
		}
	}, nil
}

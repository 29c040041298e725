package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/config"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
	"mirrord/internal/telemetry"
)

// withRules returns next behind the rules of the configuration, if there are any.
func withRules(cfg *config.Config, next oci.Registry, log *zap.Logger, metrics *telemetry.Metrics) oci.Registry {
	rules := accessRules(cfg)
	if len(rules) == 0 {
		return next
	}
	return access.NewFilter(rules, next, telemetry.Refused(log, metrics))
}

// membershipOptions returns how private content is kept from clients, nil when it is
// served to everybody.
func membershipOptions(cfg *config.Config, index membership.Index, log *zap.Logger, metrics *telemetry.Metrics) *membership.Options {
	if cfg.Access.Private == "allow" {
		return nil
	}
	o := &membership.Options{
		Fresh: cfg.Tags.Fresh, MaxStale: cfg.Tags.MaxStale, MaxSilence: cfg.Tags.MaxSilence,
		Index: index, Hooks: telemetry.MembershipHooks(log, metrics),
	}
	if cfg.Access.Private == "rules" {
		rules := accessRules(cfg)
		o.Grants = func(ctx context.Context, upstream, repository, tag string) bool {
			return access.Grants(ctx, rules, upstream, repository, tag)
		}
	}
	return o
}

// accessRules returns the rules of the configuration, which has checked them.
func accessRules(cfg *config.Config) []access.Rule {
	var rules []access.Rule
	for i, r := range cfg.Access.Rules {
		rule := access.Rule{
			Name: fmt.Sprintf("access.rules[%d]", i), Effect: access.Deny, DryRun: r.DryRun,
			Upstream: r.Upstream, Repository: r.Repository, Tag: r.Tag, From: networks(r.From), Who: r.Who,
		}
		switch {
		case r.Allow:
			rule.Effect = access.Allow
		case r.MinAge > 0:
			rule.Effect, rule.Requirement = access.Require, access.NewAge(r.MinAge)
		}
		rules = append(rules, rule)
	}
	return rules
}

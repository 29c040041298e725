package main

import (
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/config"
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

// accessRules returns the rules of the configuration, which has checked them.
func accessRules(cfg *config.Config) []access.Rule {
	var rules []access.Rule
	for i, r := range cfg.Access.Rules {
		rule := access.Rule{
			Name: fmt.Sprintf("access.rules[%d]", i), Effect: access.Deny, DryRun: r.DryRun,
			Upstream: r.Upstream, Repository: r.Repository, Tag: r.Tag, Who: r.Who,
		}
		if r.Allow {
			rule.Effect = access.Allow
		}
		for _, network := range r.From {
			rule.From = append(rule.From, netip.MustParsePrefix(network))
		}
		rules = append(rules, rule)
	}
	return rules
}

package main

import (
	"context"
	"fmt"

	"mirrord/internal/access"
	"mirrord/internal/config"
	"mirrord/internal/cosign"
	"mirrord/internal/oci"
)

// withRules returns next behind the rules of the configuration, if there are any. It
// fails when a key cannot be read.
func withRules(cfg *config.Config, next oci.Registry, refused func(context.Context, access.Refusal)) (oci.Registry, error) {
	rules := accessRules(cfg)
	if len(rules) == 0 {
		return next, nil
	}
	if err := addRequirements(rules, cfg); err != nil {
		return nil, err
	}
	return access.NewFilter(rules, next, refused), nil
}

// accessRules returns the rules of the configuration, which has checked them, without
// their requirements.
func accessRules(cfg *config.Config) []access.Rule {
	var rules []access.Rule
	for i, r := range cfg.Access.Rules {
		rules = append(rules, access.Rule{
			Name: fmt.Sprintf("access.rules[%d]", i), Effect: effect(r), DryRun: r.DryRun,
			Upstream: r.Upstream, Repository: r.Repository, Tag: r.Tag, From: networks(r.From), Who: r.Who,
		})
	}
	return rules
}

func effect(r config.AccessRule) access.Effect {
	switch {
	case r.Allow:
		return access.Allow
	case r.Deny:
		return access.Deny
	}
	return access.Require
}

// addRequirements completes the rules. It fails when a key cannot be read.
func addRequirements(rules []access.Rule, cfg *config.Config) error {
	for i, r := range cfg.Access.Rules {
		switch {
		case r.MinAge > 0:
			rules[i].Requirement = access.NewAge(r.MinAge)
		case len(r.RequireSignature) > 0:
			keys, err := cosign.LoadKeys(r.RequireSignature)
			if err != nil {
				return fmt.Errorf("%s.require_signature: %w", rules[i].Name, err)
			}
			rules[i].Requirement = access.NewSigned(keys)
		}
	}
	return nil
}

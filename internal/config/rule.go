package config

import "mirrord/internal/tagrule"

var rules = list[tagrule.Rule]{
	table: table[tagrule.Rule]{
		scalar("match", parsePattern, func(r *tagrule.Rule) *string { return &r.Match }).
			required("has no match; write the tags that it applies to, such as match: '*:latest'"),
		scalar("fresh", parseDuration, func(r *tagrule.Rule) *duration { return (*duration)(&r.Fresh) }).
			required("has no fresh; write how long its tags stay fresh, such as fresh: 1m"),
	},
}

func getRules(c *Config) []tagrule.Rule { return c.Tags.Rules }

func setRules(c *Config, list []tagrule.Rule) { c.Tags.Rules = list }

func parsePattern(s string) (string, error) { return s, tagrule.Check(s) }

package main

import (
	"testing"

	"mirrord/internal/config"
	"mirrord/internal/membership"
)

// While a configuration is replaced, a private image is never served by the old rules
// and the new access.private, or the other way round, when neither configuration allows it.
func TestExchangeIsSafe(t *testing.T) {
	for _, test := range []struct {
		old, new string
		between  membership.Policy // while the listeners get the new rules
	}{
		{"deny", "allow", membership.Deny},
		{"rules", "allow", membership.Rules},
		{"allow", "deny", membership.Deny},
		{"allow", "rules", membership.Rules},
		{"rules", "deny", membership.Deny},
	} {
		t.Run(test.old+" to "+test.new, func(t *testing.T) {
			p := newPolicy(private(test.old))
			var between membership.Policy
			p.exchange(private(test.new), func() { between = p.private() })
			if between != test.between {
				t.Errorf("access.private is %v in between, want %v", between, test.between)
			}
			if want := newPolicy(private(test.new)).private(); p.private() != want {
				t.Errorf("access.private is %v at the end, want %v", p.private(), want)
			}
		})
	}
}

// private returns a configuration with a value of access.private.
func private(value string) *config.Config {
	cfg := new(config.Config)
	cfg.Access.Private = value
	return cfg
}

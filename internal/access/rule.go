package access

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"mirrord/internal/oci"
)

// Anonymous is the name by which rules know a client that has proved no identity.
const Anonymous = "anonymous"

// Rule is one rule about what may be pulled. A condition that is empty matches
// everything. Patterns are those of doublestar: in a repository * stays within one
// component, and ** does not.
type Rule struct {
	Name   string // for messages, such as access.rules[0]
	Effect Effect
	DryRun bool // what it denies is only reported

	Upstream   string // its name in the configuration
	Repository string // pattern
	Tag        string // pattern; a rule with one applies to pulls by tag only
	From       []netip.Prefix
	Who        []string // patterns of identities, such as user:alice or anonymous

	Requirement Requirement // only and always for the effect Require
}

// Effect is what a rule does with a request that it matches.
type Effect uint8

const (
	Deny    Effect = iota + 1 // refuse it
	Allow                     // serve it, whatever later rules say
	Require                   // refuse it unless the Requirement is met, else go on with the next rule
)

// Requirement is something that content must fulfill. Check returns nil if the
// manifest ref, by digest, which next can serve, does. tag is the one that it was asked
// by, or empty. It fails with oci.Denied, and why
// not in words for the client, or with an error that is oci.Temporary when that cannot be
// found out now. It may be called concurrently.
type Requirement interface {
	Check(ctx context.Context, next oci.Registry, ref oci.Ref, tag string) error
}

// request is what a rule is matched against.
type request struct {
	client     oci.Client
	upstream   string
	repository string
	tag        string // empty: by digest, or a list
}

func (r *Rule) matches(q request) bool {
	return (r.Upstream == "" || r.Upstream == q.upstream) &&
		matchesPattern(r.Repository, q.repository) &&
		(r.Tag == "" || q.tag != "" && matchesPattern(r.Tag, q.tag)) &&
		r.matchesClient(q.client)
}

func (r *Rule) matchesClient(c oci.Client) bool {
	if len(r.From) > 0 && !slices.ContainsFunc(r.From, func(network netip.Prefix) bool { return network.Contains(c.Address) }) {
		return false
	}
	if len(r.Who) == 0 {
		return true
	}
	names := c.Names
	if len(names) == 0 {
		names = []string{Anonymous}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(r.Who, func(pattern string) bool { return matchesPattern(flat(pattern), flat(name)) })
	})
}

// flat takes the meaning from slashes: identities are not paths, and * matches any part
// of them.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// matchesPattern reports whether a pattern, which the configuration has checked,
// matches s.
func matchesPattern(pattern, s string) bool {
	return pattern == "" || doublestar.MatchUnvalidated(pattern, s)
}

package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// AccessRule is one rule about what may be pulled; the first one that matches decides.
// A condition that is empty matches everything.
type AccessRule struct {
	// Exactly one of these is set.
	Allow  bool
	Deny   bool
	MinAge time.Duration // of images

	// RequireSignature are the files with the public keys of which one must have signed.
	RequireSignature []string

	DryRun bool // what it denies is only reported

	Upstream   string   // name
	Repository string   // pattern
	Tag        string   // pattern
	From       []string // CIDRs
	Who        []string // patterns
}

var accessRules = list[AccessRule]{
	table: table[AccessRule]{
		scalar("allow", parseYes, func(r *AccessRule) *yes { return (*yes)(&r.Allow) }),
		scalar("deny", parseYes, func(r *AccessRule) *yes { return (*yes)(&r.Deny) }),
		scalar("min_age", parseAge, func(r *AccessRule) *age { return (*age)(&r.MinAge) }),
		words("require_signature", parsePath, func(r *AccessRule) *[]string { return &r.RequireSignature }),
		scalar("upstream", parseAlias, func(r *AccessRule) *string { return &r.Upstream }),
		scalar("repository", parseRepositoryPattern, func(r *AccessRule) *string { return &r.Repository }),
		scalar("tag", parseTagPattern, func(r *AccessRule) *string { return &r.Tag }),
		words("from", parseCIDR, func(r *AccessRule) *[]string { return &r.From }),
		words("who", parseWho, func(r *AccessRule) *[]string { return &r.Who }),
		scalar("dry_run", parseFlag, func(r *AccessRule) *yes { return (*yes)(&r.DryRun) }),
	},
	check: checkAccessRule,
}

// checkAccessRule checks the last rule.
func checkAccessRule(l *loader, at place, rules []AccessRule) {
	r := rules[len(rules)-1]
	switch {
	case effects(r) != 1:
		l.problem(at, "must have one of allow: true, deny: true, min_age and require_signature; write one of them")
	case r.Allow && r.DryRun:
		l.problem(at, "has dry_run, which is for rules that refuse something; remove it")
	case isAlways(r) && r.Deny && !r.DryRun && len(rules) == 1:
		l.problem(at, "denies everything; write a rule with allow: true before it")
	}
}

// effects returns how many effects r has.
func effects(r AccessRule) (n int) {
	for _, set := range []bool{r.Allow, r.Deny, r.MinAge > 0, len(r.RequireSignature) > 0} {
		if set {
			n++
		}
	}
	return n
}

// age is a duration that may be left out.
type age time.Duration

// String is empty for one that is left out.
func (a age) String() string { return timeout(a).String() }

func parseAge(s string) (age, error) {
	d, err := parseDuration(s)
	if err == nil && d == 0 {
		err = fmt.Errorf("%q is no age; write for example 168h or 7d, or remove the rule", s)
	}
	return age(d), err
}

// isAlways reports whether r matches every request.
func isAlways(r AccessRule) bool {
	return r.Upstream == "" && r.Repository == "" && r.Tag == "" && len(r.From) == 0 && len(r.Who) == 0
}

const accessRulesKey = "access.rules"

// finishAccess replaces the aliases in rules by the names of their upstreams.
func (l *loader) finishAccess() {
	for i := range l.config.Access.Rules {
		rule := &l.config.Access.Rules[i]
		if rule.Upstream == "" {
			continue
		}
		known := slices.IndexFunc(l.config.Upstreams, func(u Upstream) bool { return slices.Contains(u.names(), rule.Upstream) })
		if known < 0 {
			l.problem(l.origins[accessRulesKey], "%s[%d] is for %s, which is not among upstreams; add it there or remove the rule", accessRulesKey, i, rule.Upstream)
			continue
		}
		rule.Upstream = l.config.Upstreams[known].Name
	}
}

var (
	repositoryPatternRE = regexp.MustCompile(`^[a-z0-9._/*?\[\]{},!^-]+$`)
	tagPatternRE        = regexp.MustCompile(`^[A-Za-z0-9._*?\[\]{},!^-]+$`)
)

func parseRepositoryPattern(s string) (string, error) {
	return s, checkPattern(s, repositoryPatternRE, "repository", "library/* or acme/**")
}

func parseTagPattern(s string) (string, error) {
	return s, checkPattern(s, tagPatternRE, "tag", "latest or v1.*")
}

func checkPattern(s string, allowed *regexp.Regexp, what, example string) error {
	if !allowed.MatchString(s) || !doublestar.ValidatePattern(s) || strings.Count(s, "{")+strings.Count(s, ",") > 16 {
		return fmt.Errorf("%q is not a pattern of a %s; write for example %s", s, what, example)
	}
	return nil
}

// identities are what the names of clients begin with.
var identities = []string{"user:", "token:", "cert:", "jwt:"}

// parseWho accepts a pattern of identities. One that can match none is an error.
func parseWho(s string) (string, error) {
	known := s == "*" || s == "**" || s == "anonymous" || slices.ContainsFunc(identities, func(kind string) bool { return strings.HasPrefix(s, kind) && s != kind })
	if !known || !printable(s) || !doublestar.ValidatePattern(s) {
		return "", fmt.Errorf("%q is not an identity; write anonymous, or for example user:alice, user:*, token:ci, cert:CN=build-* or jwt:repo:acme/**", s)
	}
	return s, nil
}

// parseCIDR accepts a network, or one address. One of IPv4 that is written as IPv6 becomes
// that of IPv4, which clients have.
func parseCIDR(s string) (string, error) {
	prefix, err := netip.ParsePrefix(s)
	if address, single := netip.ParseAddr(s); single == nil {
		prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	const mapping = 96 // bits before an address of IPv4
	if prefix.Addr().Is4In6() && prefix.Bits() >= mapping {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapping)
	}
	if err != nil || prefix.Addr().Zone() != "" || prefix.Addr().Is4In6() {
		return "", fmt.Errorf("%q is not a network; write for example 10.1.0.0/16 or 192.0.2.7", s)
	}
	return prefix.Masked().String(), nil
}

// parseProxyNetwork accepts what parseCIDR does, but for networks of everybody: with
// them the whole chain of addresses that a client may write would be believed.
func parseProxyNetwork(s string) (string, error) {
	network, err := parseCIDR(s)
	if err == nil && strings.HasSuffix(network, "/0") {
		err = fmt.Errorf("%q is everybody, who could then name any other client; write the addresses of the proxies", s)
	}
	return network, err
}

// parseAuditLog accepts a file, the word for standard error, or nothing.
func parseAuditLog(s string) (string, error) {
	if s == "" || s == "stderr" {
		return s, nil
	}
	return parsePath(s)
}

package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mirrord/internal/tagrule"
)

// Upstream is one registry to mirror.
type Upstream struct {
	Name             string        // as in image references, such as docker.io: lower-case host[:port]
	URL              string        // http or https, without a trailing slash
	Aliases          []string      // further names for clients: host[:port] or one word
	Hosts            []string      // Host headers of requests for it
	RepositoryPrefix string        // of all its repositories at URL, without slashes at its ends; empty: none
	Fallbacks        []string      // URLs that are tried in turn when URL fails
	Credentials      []Credential  // with unique names; empty: the default configuration of Docker, or anonymous
	TokenHosts       []string      // host[:port] of its token service; empty: its own registrable domain
	PrivateNetworks  []string      // CIDRs of private networks that its redirects may lead to
	CAFile           string        // PEM, trusted beside those of the system
	ClientCertFile   string        // PEM; set if and only if ClientKeyFile is
	ClientKeyFile    string        // PEM
	Insecure         bool          // its certificate is not verified
	Proxy            string        // URL, or none; empty: that of the environment
	ConnectTimeout   time.Duration // 0: the default
	ResponseTimeout  time.Duration // 0: the default
	MaxFills         int           // at once; 0: only cache.max_fills limits them
	Bandwidth        []Bandwidth   // the first that applies at a time limits the downloads; none: no limit
	TagRules         tagrule.Rules // before those of all upstreams
}

// upstreamEntry is an Upstream as in a source.
type upstreamEntry struct {
	Upstream
	login Credential // the short form of one credential
}

var upstreams = list[upstreamEntry]{
	table: table[upstreamEntry]{
		scalar("name", parseName, func(u *upstreamEntry) *string { return &u.Name }).
			required("has no name; write the host that image references start with, such as docker.io"),
		scalar("url", parseURL, func(u *upstreamEntry) *string { return &u.URL }),
		words("aliases", parseAlias, func(u *upstreamEntry) *[]string { return &u.Aliases }),
		words("hosts", parseName, func(u *upstreamEntry) *[]string { return &u.Hosts }),
		scalar("repository_prefix", parsePrefix, func(u *upstreamEntry) *string { return &u.RepositoryPrefix }),
		words("fallbacks", parseURL, func(u *upstreamEntry) *[]string { return &u.Fallbacks }),
		scalar("username", parseText, func(u *upstreamEntry) *string { return &u.login.Username }),
		scalar("password_file", parsePath, func(u *upstreamEntry) *string { return &u.login.PasswordFile }),
		listOf("credentials", credentials,
			func(u *upstreamEntry) []Credential { return u.Credentials },
			func(u *upstreamEntry, list []Credential) { u.Credentials = list }),
		words("token_hosts", parseName, func(u *upstreamEntry) *[]string { return &u.TokenHosts }),
		words("private_networks", parseNetwork, func(u *upstreamEntry) *[]string { return &u.PrivateNetworks }),
		scalar("ca_file", parsePath, func(u *upstreamEntry) *string { return &u.CAFile }),
		scalar("client_cert_file", parsePath, func(u *upstreamEntry) *string { return &u.ClientCertFile }),
		scalar("client_key_file", parsePath, func(u *upstreamEntry) *string { return &u.ClientKeyFile }),
		scalar("insecure_skip_verify", parseFlag, func(u *upstreamEntry) *yes { return (*yes)(&u.Insecure) }),
		scalar("proxy", parseProxy, func(u *upstreamEntry) *string { return &u.Proxy }),
		scalar("connect_timeout", parseTimeout, func(u *upstreamEntry) *timeout { return (*timeout)(&u.ConnectTimeout) }),
		scalar("response_timeout", parseTimeout, func(u *upstreamEntry) *timeout { return (*timeout)(&u.ResponseTimeout) }),
		scalar("max_fills", parseLimit, func(u *upstreamEntry) *limit { return (*limit)(&u.MaxFills) }),
		listOf("bandwidth", bandwidths,
			func(u *upstreamEntry) []Bandwidth { return u.Bandwidth },
			func(u *upstreamEntry, list []Bandwidth) { u.Bandwidth = list }),
		listOf("tag_rules", rules,
			func(u *upstreamEntry) []tagrule.Rule { return u.TagRules },
			func(u *upstreamEntry, list []tagrule.Rule) { u.TagRules = list }),
	},
	short: "name",
	none:  "is empty; write at least one upstream, or leave it out for docker.io",
	check: checkUpstream,
}

// checkUpstream checks the last item, expands the short form of a credential and
// fills in what is known of the registry.
func checkUpstream(l *loader, at place, items []upstreamEntry) {
	last := len(items) - 1
	u := &items[last]
	u.applyKnown()
	if u.URL == "" {
		l.problem(at, "has no url, and %s is not a registry that is known by name; write its address, such as url: https://%s", u.Name, u.Name)
	}
	checkNames(l, at, items)
	checkFallbacks(l, at, u.Upstream)
	if slices.Contains(reservedAliases, u.Name) {
		l.problem(at, "has the reserved name %s; write the host that image references start with", u.Name)
	}
	if (u.ClientCertFile == "") != (u.ClientKeyFile == "") {
		l.problem(at, "has only one of client_cert_file and client_key_file; write both or neither")
	}
	switch {
	case u.login == Credential{}:
	case len(u.Credentials) > 0:
		l.problem(at, "has both credentials and a username or password_file; move that login into credentials")
	default:
		checkLogin(l, at, u.login)
		u.login.Name = loginKind
		u.Credentials = []Credential{u.login}
	}
}

// checkNames checks that no name, alias or host of the last item leads to one of the
// others, too.
func checkNames(l *loader, at place, items []upstreamEntry) {
	last := len(items) - 1
	u := items[last]
	for i, other := range items[:last] {
		if other.Name == u.Name {
			l.problem(at, "has the name %s, which %s already uses; give each a unique name", u.Name, at.sibling(i).name)
			continue
		}
		for _, name := range u.names() {
			if slices.Contains(other.names(), name) {
				l.problem(at, "is known as %s, and so is %s; remove one", name, at.sibling(i).name)
			}
		}
		for _, host := range u.Hosts {
			if slices.Contains(other.Hosts, host) {
				l.problem(at, "has the host %s, and so has %s; remove one", host, at.sibling(i).name)
			}
		}
	}
}

// checkFallbacks checks that each is another registry, and that none is less protected
// than the upstream.
func checkFallbacks(l *loader, at place, u Upstream) {
	seen := []string{u.URL}
	for _, fallback := range u.Fallbacks {
		switch {
		case slices.Contains(seen, fallback):
			l.problem(at, "has the url %s more than once; remove one", fallback)
		case strings.HasPrefix(u.URL, "https:") && !strings.HasPrefix(fallback, "https:"):
			l.problem(at, "has the fallback %s, which does not use https as the registry does; write one that does", fallback)
		}
		seen = append(seen, fallback)
	}
}

// names returns the name and the aliases.
func (u Upstream) names() []string { return append([]string{u.Name}, u.Aliases...) }

// UpstreamKeys returns the keys of an upstream in a file.
func UpstreamKeys() []string { return upstreams.table.keys() }

func getUpstreams(c *Config) []upstreamEntry {
	entries := make([]upstreamEntry, len(c.Upstreams))
	for i, u := range c.Upstreams {
		entries[i].Upstream = u
	}
	return entries
}

func setUpstreams(c *Config, entries []upstreamEntry) {
	c.Upstreams = make([]Upstream, len(entries))
	for i, entry := range entries {
		c.Upstreams[i] = entry.Upstream
	}
}

// timeout is a duration that may be left out.
type timeout time.Duration

// String is empty for one that is left out.
func (t timeout) String() string {
	if t == 0 {
		return ""
	}
	return duration(t).String()
}

// parseTimeout accepts what clients wait for: containerd gives up after 30 s without
// a response.
func parseTimeout(s string) (timeout, error) {
	d, err := parseDuration(s)
	if err == nil && (d < duration(time.Second) || d > duration(25*time.Second)) {
		err = fmt.Errorf("%q is not a timeout that clients can live with; write 1s to 25s", s)
	}
	return timeout(d), err
}

// limit is a number that may be left out.
type limit int

// String is empty for one that is left out.
func (n limit) String() string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(int(n))
}

func parseLimit(s string) (limit, error) {
	n, err := parseFills(s)
	return limit(n), err
}

// parsePrefix accepts the beginning of a repository name, without slashes at its ends.
func parsePrefix(s string) (string, error) {
	trimmed := strings.Trim(s, "/")
	for component := range strings.SplitSeq(trimmed, "/") {
		if !componentRE.MatchString(component) {
			return "", fmt.Errorf("%q is not a valid beginning of a repository name; write for example docker-proxy or team/docker-proxy", s)
		}
	}
	return trimmed, nil
}

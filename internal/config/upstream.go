package config

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Upstream is one registry to mirror.
type Upstream struct {
	Name        string       // as in image references, such as docker.io: lower-case host[:port]
	URL         string       // http or https, without a trailing slash
	Credentials []Credential // with unique names; empty: the default configuration of Docker, or anonymous
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
		scalar("url", parseURL, func(u *upstreamEntry) *string { return &u.URL }).
			required("has no url; write the address of the registry, such as https://registry-1.docker.io"),
		scalar("username", parseText, func(u *upstreamEntry) *string { return &u.login.Username }),
		scalar("password_file", parsePath, func(u *upstreamEntry) *string { return &u.login.PasswordFile }),
		listOf("credentials", credentials,
			func(u *upstreamEntry) []Credential { return u.Credentials },
			func(u *upstreamEntry, list []Credential) { u.Credentials = list }),
	},
	none:  "is empty; write at least one upstream, or leave it out for docker.io",
	check: checkUpstream,
}

// checkUpstream checks the last item, and expands the short form of a credential.
func checkUpstream(l *loader, at place, items []upstreamEntry) {
	last := len(items) - 1
	u := &items[last]
	if i := slices.IndexFunc(items, func(other upstreamEntry) bool { return other.Name == u.Name }); i < last {
		l.problem(at, "has the name %s, which %s already uses; give each a unique name", u.Name, at.sibling(i).name)
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

var nameRE = regexp.MustCompile(`^[a-z0-9.-]+(?::[0-9]+)?$`)

// parseName accepts a lower-case host[:port].
func parseName(s string) (string, error) {
	host, port, hasPort := strings.Cut(s, ":")
	if !nameRE.MatchString(s) || !hostRE.MatchString(host) || hasPort && !isPort(port) {
		return "", fmt.Errorf("%q is not a valid registry name; write a lower-case host or host:port, such as docker.io", s)
	}
	return s, nil
}

// parseURL accepts the base URL of a registry. Its errors do not quote user
// information or a query, which may contain a secret.
func parseURL(s string) (string, error) {
	s = strings.TrimRight(s, "/")
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "@") && (err != nil || u.User != nil || u.Opaque != ""):
		return "", fmt.Errorf("contains a user name or password; set username and password_file instead")
	case strings.ContainsAny(s, "?#"):
		return "", fmt.Errorf("has a query or fragment; write only the scheme, the host and optionally a path")
	case err != nil || !printable(s) || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" && !isPort(u.Port()):
		return "", fmt.Errorf("%q is not a valid registry URL; write http or https and a host, such as https://registry-1.docker.io", s)
	}
	return s, checkRegistry(u)
}

// websites maps hosts that people mistake for a registry to the registry that they
// belong to. None of them serves the registry API.
var websites = map[string]string{
	"docker.com":             "https://registry-1.docker.io",
	"www.docker.com":         "https://registry-1.docker.io",
	"hub.docker.com":         "https://registry-1.docker.io",
	"app.docker.com":         "https://registry-1.docker.io",
	"docker.io":              "https://registry-1.docker.io",
	"www.docker.io":          "https://registry-1.docker.io",
	"auth.docker.io":         "https://registry-1.docker.io",
	"github.com":             "https://ghcr.io",
	"gitlab.com":             "https://registry.gitlab.com",
	"gallery.ecr.aws":        "https://public.ecr.aws",
	"catalog.ngc.nvidia.com": "https://nvcr.io",
}

// checkRegistry rejects a valid URL that cannot be the base of a registry.
func checkRegistry(u *url.URL) error {
	if registry, ok := websites[strings.ToLower(u.Hostname())]; ok {
		return fmt.Errorf("%q is a website, not a registry; write %s", u, registry)
	}
	if base, last := path.Split(u.Path); last == "v2" || last == "v1" {
		u.Path = strings.TrimRight(base, "/")
		return fmt.Errorf("ends in /%s, which mirrord adds itself; write %s", last, u)
	}
	return nil
}

package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mirrord/internal/tagrule"
)

// knownRegistry is a public registry that can be configured by its name alone.
type knownRegistry struct {
	name       string
	url        string
	aliases    []string      // other hosts that lead to the same content
	tokenHosts []string      // of its token service, where that is another host
	fresh      time.Duration // of tags, unless the configuration says otherwise; 0: tags.fresh
}

// known has the public registries. Freshness is our judgement: the shorter, the more
// often tags of that registry move and the more requests it allows. Hosts of token
// services are those in the challenge to a request for /v2/.
//
// us.gcr.io and its like are registries of their own with other content than gcr.io,
// so they are no aliases.
var known = []knownRegistry{
	// https://docs.docker.com/reference/api/registry/auth/
	{name: "docker.io", url: "https://registry-1.docker.io", aliases: []string{"index.docker.io", "registry-1.docker.io"}, tokenHosts: []string{"auth.docker.io"}},
	// https://docs.github.com/packages/working-with-a-github-packages-registry/working-with-the-container-registry
	{name: "ghcr.io", url: "https://ghcr.io", fresh: 10 * time.Minute},
	// https://docs.quay.io
	{name: "quay.io", url: "https://quay.io", fresh: 10 * time.Minute},
	// https://github.com/kubernetes/registry.k8s.io: no logins; k8s.gcr.io redirects there, and its tags do not move
	{name: "registry.k8s.io", url: "https://registry.k8s.io", aliases: []string{"k8s.gcr.io"}, fresh: 24 * time.Hour},
	// https://cloud.google.com/artifact-registry/docs/transition/gcr-repositories
	{name: "gcr.io", url: "https://gcr.io", fresh: 10 * time.Minute},
	// https://github.com/microsoft/containerregistry: no logins
	{name: "mcr.microsoft.com", url: "https://mcr.microsoft.com", fresh: time.Hour},
	// https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html
	{name: "public.ecr.aws", url: "https://public.ecr.aws", fresh: time.Hour},
	// https://docs.nvidia.com/ngc: an expired token is challenged to authn.nvidia.com, which refuses anonymous users
	{name: "nvcr.io", url: "https://nvcr.io", fresh: time.Hour},
	// https://github.com/scarf-sh/gateway: a front of ghcr.io, whose challenge it passes on
	{name: "lscr.io", url: "https://lscr.io", tokenHosts: []string{"ghcr.io"}, fresh: 10 * time.Minute},
	// https://www.docker.elastic.co
	{name: "docker.elastic.co", url: "https://docker.elastic.co", tokenHosts: []string{"docker-auth.elastic.co"}, fresh: time.Hour},
	// https://docs.gitlab.com/administration/packages/container_registry/
	{name: "registry.gitlab.com", url: "https://registry.gitlab.com", tokenHosts: []string{"gitlab.com"}, fresh: 5 * time.Minute},
}

// knownByName returns the known registry of that name, or the zero one.
func knownByName(name string) knownRegistry {
	i := slices.IndexFunc(known, func(k knownRegistry) bool { return k.name == name })
	if i < 0 {
		return knownRegistry{}
	}
	return known[i]
}

// KnownHosts returns the hosts of the registries that are known by name.
func KnownHosts() []string {
	var hosts []string
	for _, k := range known {
		hosts = append(append(hosts, k.name), k.aliases...)
	}
	return hosts
}

// applyKnown fills in what is known of u by its name, except aliases.
func (u *Upstream) applyKnown() {
	k := knownByName(u.Name)
	if u.URL == "" {
		u.URL = k.url
	}
	if u.URL == k.url {
		u.TokenHosts = union(u.TokenHosts, k.tokenHosts)
	}
}

// union returns a with those of b that it lacks.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// addKnownAliases adds the other names of known registries, except those that the
// configuration gives to another upstream.
func (c *Config) addKnownAliases() {
	given := make(map[string]bool)
	for _, u := range c.Upstreams {
		for _, name := range u.names() {
			given[name] = true
		}
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		for _, alias := range knownByName(u.Name).aliases {
			if !given[alias] {
				u.Aliases = append(u.Aliases, alias)
			}
		}
	}
}

// addKnownFreshness adds rules for the tags of registries that are known by name,
// after those of the configuration, unless it sets tags.fresh itself.
func (l *loader) addKnownFreshness() {
	if _, set := l.origins[tagsFreshKey]; set {
		return
	}
	for _, u := range l.config.Upstreams {
		rule := tagrule.Rule{Match: u.Name + "/**", Fresh: knownByName(u.Name).fresh}
		if rule.Fresh != 0 && !slices.Contains(l.config.Tags.Rules, rule) {
			l.config.Tags.Rules = append(l.config.Tags.Rules, rule)
		}
	}
}

// KnownTable returns the registries that are known by name as a Markdown table.
func KnownTable() string {
	var b strings.Builder
	b.WriteString("| name | url | also known as | token service | tags are fresh for |\n|---|---|---|---|---|\n")
	for _, k := range known {
		fresh := "`tags.fresh`"
		if k.fresh != 0 {
			fresh = duration(k.fresh).String()
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.name, k.url, strings.Join(k.aliases, ", "), strings.Join(k.tokenHosts, ", "), fresh)
	}
	return b.String()
}

package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	nameRE = regexp.MustCompile(`^[a-z0-9.-]+(?::[0-9]+)?$`)
	// componentRE matches one component of a repository name, as in distribution-spec
	// 1.1.
	componentRE = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
)

// parseName accepts a lower-case host[:port].
func parseName(s string) (string, error) {
	host, port, hasPort := strings.Cut(s, ":")
	if !nameRE.MatchString(s) || !hostRE.MatchString(host) || hasPort && !isPort(port) {
		return "", fmt.Errorf("%q is not a valid registry name; write a lower-case host or host:port, such as docker.io", s)
	}
	return s, nil
}

// reservedAliases would hide a part of the API, or Docker Hub's official images.
var reservedAliases = []string{"v1", "v2", "library"}

// parseAlias accepts a registry name, or a word that can be the first component of a
// repository.
func parseAlias(s string) (string, error) {
	if slices.Contains(reservedAliases, s) {
		return "", fmt.Errorf("%q is reserved; write another word", s)
	}
	if componentRE.MatchString(s) {
		return s, nil
	}
	if _, err := parseName(s); err != nil {
		return "", fmt.Errorf("%q is not a valid alias; write a lower-case word, host or host:port", s)
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

// NoProxy is the value of proxy for direct connections.
const NoProxy = "none"

// parseProxy accepts the URL of a proxy, or none. Its errors do not quote the URL,
// which may contain a password.
func parseProxy(s string) (string, error) {
	if s == NoProxy {
		return s, nil
	}
	u, err := url.Parse(s)
	if err != nil || !printable(s) || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return "", fmt.Errorf("is not a valid proxy; write http, https or socks5 and a host, such as http://proxy.example:3128, or none")
	}
	if u.User != nil {
		return "", fmt.Errorf("contains a user name or password, which this file must not; set HTTPS_PROXY in the environment instead")
	}
	return s, nil
}

// parseNetwork accepts a CIDR, or one address.
func parseNetwork(s string) (string, error) {
	prefix, err := netip.ParsePrefix(s)
	if address, single := netip.ParseAddr(s); single == nil {
		prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	if err != nil {
		return "", fmt.Errorf("%q is not a network; write for example 10.1.0.0/16", s)
	}
	if !isPrivate(prefix.Addr()) {
		return "", fmt.Errorf("%q is not a private network, to which this is limited; public addresses need no entry, and the local link cannot be allowed", s)
	}
	return prefix.Masked().String(), nil
}

// carrierGrade is private to a provider: RFC 6598.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || carrierGrade.Contains(a)
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

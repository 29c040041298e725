package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ACME is how a listener obtains its certificates from a CA.
type ACME struct {
	Domains   []string // DNS names or IP addresses, at least one
	Email     string
	Directory string // URL; empty: Let's Encrypt
	CAFile    string // roots of the CA's own certificate; empty: the system's
}

// Enabled reports whether the listener uses ACME.
func (a ACME) Enabled() bool { return len(a.Domains) > 0 }

const noDomains = "has no domains; write the names that clients use for this listener, such as mirror.example.com"

var acmeTable = table[ACME]{
	nonEmpty(words("domains", parseDomain, func(a *ACME) *[]string { return &a.Domains })).required(noDomains),
	scalar("email", parseEmail, func(a *ACME) *string { return &a.Email }),
	scalar("directory", parseDirectory, func(a *ACME) *string { return &a.Directory }),
	scalar("ca_file", parsePath, func(a *ACME) *string { return &a.CAFile }),
}

// nonEmpty returns f, which without entries would turn the listener's TLS off.
func nonEmpty(f field[ACME]) field[ACME] {
	read := f.read
	f.read = func(l *loader, into *ACME, v value) {
		read(l, into, v)
		if len(into.Domains) == 0 {
			l.problem(v.where(), noDomains)
		}
	}
	return f
}

// parseDomain accepts a DNS name or an IP address that a CA can validate over TLS.
func parseDomain(s string) (string, error) {
	if address, err := netip.ParseAddr(s); err == nil && address.Zone() == "" {
		return address.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if strings.HasPrefix(name, "*") {
		return "", fmt.Errorf("%q is a wildcard, which needs changes in the DNS; write each name, or use tls with a certificate in files", s)
	}
	if !hostRE.MatchString(name) {
		return "", fmt.Errorf("%q is not a domain; write a name without a port, such as mirror.example.com", s)
	}
	return name, nil
}

func parseEmail(s string) (string, error) {
	user, host, ok := strings.Cut(s, "@")
	if !ok || user == "" || !hostRE.MatchString(host) || !printable(s) || strings.ContainsAny(s, " <>,") {
		return "", fmt.Errorf("%q is not an e-mail address; write one such as ops@example.com, or leave it out", s)
	}
	return s, nil
}

// parseDirectory accepts the URL of an ACME directory.
func parseDirectory(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || !printable(s) {
		return "", fmt.Errorf("is not the URL of an ACME directory; write https and a host, such as https://ca.example.com/acme/acme/directory")
	}
	return s, nil
}

package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
)

// Auth says how the clients of a listener prove who they are; any method that succeeds is
// enough. The zero Auth is that of an open listener.
type Auth struct {
	Htpasswd           string // file; empty: no passwords
	Tokens             string // file; empty: no static tokens
	ClientCertificates bool   // those that TLS has verified
	JWT                []Issuer
}

// IsOpen reports whether there is no method.
func (a Auth) IsOpen() bool { return !a.ClientCertificates && !a.HasLogin() }

// HasLogin reports whether clients can log in with a password or a token.
func (a Auth) HasLogin() bool { return a.Htpasswd != "" || a.Tokens != "" || len(a.JWT) > 0 }

// Issuer issues JWTs.
type Issuer struct {
	Issuer   string   // URL, exactly as in its tokens
	Audience string   // in tokens for the mirror
	Subjects []string // patterns; empty: all
	JWKSURL  string   // empty: that of its discovery document
	CAFile   string   // PEM; empty: only the authorities of the system
}

var authTable = table[Auth]{
	scalar("htpasswd", parsePath, func(a *Auth) *string { return &a.Htpasswd }),
	scalar("tokens", parsePath, func(a *Auth) *string { return &a.Tokens }),
	scalar("client_certificates", parseFlag, func(a *Auth) *yes { return (*yes)(&a.ClientCertificates) }),
	listOf("jwt", issuers, func(a *Auth) []Issuer { return a.JWT }, func(a *Auth, all []Issuer) { a.JWT = all }),
}

var issuers = list[Issuer]{
	table: table[Issuer]{
		scalar("issuer", parseIssuer, func(i *Issuer) *string { return &i.Issuer }).
			required("has no issuer; write the URL that its tokens name, such as https://gitlab.example"),
		scalar("audience", parseText, func(i *Issuer) *string { return &i.Audience }).
			required("has no audience; write what tokens for this mirror name as theirs, such as the mirror's own URL"),
		words("subjects", parseSubject, func(i *Issuer) *[]string { return &i.Subjects }),
		scalar("jwks_url", parseIssuer, func(i *Issuer) *string { return &i.JWKSURL }),
		scalar("ca_file", parsePath, func(i *Issuer) *string { return &i.CAFile }),
	},
	check: checkIssuer,
}

// publicIssuers give a token to everybody, for any audience.
var publicIssuers = []string{"https://token.actions.githubusercontent.com", "https://gitlab.com", "https://accounts.google.com"}

// checkIssuer checks the last item.
func checkIssuer(l *loader, at place, items []Issuer) {
	i := items[len(items)-1]
	if slices.Contains(publicIssuers, i.Issuer) && len(i.Subjects) == 0 {
		l.problem(at, "has no subjects, and %s gives a token to everybody; write whose you accept, such as repo:ORGANIZATION/* or project_path:GROUP/*", i.Issuer)
	}
}

// authOf returns the field of a group that must have a method: an empty one would open
// the listener.
func authOf(at func(*Listener) *Auth) field[Listener] {
	f := group("auth", authTable, at)
	read := f.read
	f.read = func(l *loader, into *Listener, v value) {
		before := len(l.problems)
		read(l, into, v)
		if at(into).IsOpen() && len(l.problems) == before {
			l.problem(v.where(), "has no method; write one of htpasswd, tokens, client_certificates and jwt, or remove auth to let everybody in")
		}
	}
	return f
}

// checkListener checks the last item.
func checkListener(l *loader, at place, items []Listener) {
	listener := items[len(items)-1]
	if listener.TLS != (TLS{}) && listener.ACME.Enabled() {
		l.problem(at, "has both tls and acme; keep acme to obtain certificates, or tls for those in files")
	}
	if listener.Auth.ClientCertificates && listener.TLS.ClientCAFile == "" {
		l.problem(at, "has client_certificates, but no authority that signs them; write it as client_ca_file in tls")
	}
}

// parseIssuer accepts an HTTPS URL, or one of HTTP on this machine.
func parseIssuer(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || !printable(s) || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "", fmt.Errorf("is not the URL of an issuer; write https and a host, such as https://gitlab.example, without a user, query or fragment")
	}
	return s, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func parseSubject(s string) (string, error) {
	if s == "" || !printable(s) || !doublestar.ValidatePattern(s) {
		return "", fmt.Errorf("%q is not a pattern of subjects; write for example repo:acme/*", s)
	}
	return s, nil
}

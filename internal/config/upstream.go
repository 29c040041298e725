package config

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// Upstream is one registry to mirror.
type Upstream struct {
	Name         string // as references spell it, such as docker.io: lower-case host[:port]
	URL          string // http or https, no slash at the end
	Username     string // empty: anonymous
	PasswordFile string // set exactly when Username is
}

// Password reads the password file and drops one newline at its end. An
// anonymous upstream has the empty password.
func (u Upstream) Password() (string, error) {
	if u.PasswordFile == "" {
		return "", nil
	}
	data, err := os.ReadFile(u.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password of upstream %s: %w", u.Name, err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if password == "" {
		return "", fmt.Errorf("read password of upstream %s: %s is empty", u.Name, u.PasswordFile)
	}
	return password, nil
}

// upstreamField is one key of an upstream.
type upstreamField struct {
	key   string
	parse func(string) (string, error)
	at    func(*Upstream) *string
}

var upstreamFields = []upstreamField{
	{"name", parseName, func(u *Upstream) *string { return &u.Name }},
	{"url", parseURL, func(u *Upstream) *string { return &u.URL }},
	{"username", parseText, func(u *Upstream) *string { return &u.Username }},
	{"password_file", parseText, func(u *Upstream) *string { return &u.PasswordFile }},
}

// upstreamKeys are the keys of upstreamFields, in their order.
func upstreamKeys() []string {
	keys := make([]string, len(upstreamFields))
	for i, f := range upstreamFields {
		keys[i] = f.key
	}
	return keys
}

// upstreamKey returns the field of that key, or nil.
func upstreamKey(key string) *upstreamField {
	for i := range upstreamFields {
		if upstreamFields[i].key == key {
			return &upstreamFields[i]
		}
	}
	return nil
}

func (l *loader) setUpstream(u *Upstream, f *upstreamField, at place, value string) {
	v, err := f.parse(value)
	if err != nil {
		l.problem(at, "%v", err)
		return
	}
	*f.at(u) = v
}

// upstreams makes n upstreams the configuration's list. read fills in number
// i, reports what is wrong in it and returns its place; an upstream with a
// problem is not checked further.
func (l *loader) upstreams(at place, n int, read func(i int, u *Upstream) place) {
	if n == 0 {
		l.problem(at, "is empty; write at least one upstream, or leave it out for docker.io")
	}
	list := make([]Upstream, n)
	first := make(map[string]int)
	for i := range list {
		before := len(l.problems)
		u := &list[i]
		entry := read(i, u)
		if other, ok := first[u.Name]; ok && u.Name != "" {
			l.problem(entry, "has the name %s, as %s has; give each its own", u.Name, place{name: at.name}.index(other))
		} else {
			first[u.Name] = i
		}
		if len(l.problems) == before {
			l.checkUpstream(entry, *u)
		}
	}
	l.config.Upstreams = list
}

// checkUpstream checks what concerns several keys of an upstream.
func (l *loader) checkUpstream(at place, u Upstream) {
	if u.Name == "" {
		l.problem(at, "has no name; write the host that references start with, such as docker.io")
	}
	if u.URL == "" {
		l.problem(at, "has no url; write where the registry is, such as https://registry-1.docker.io")
	}
	if u.Username != "" && u.PasswordFile == "" {
		l.problem(at, "has a username but no password file; write both or neither")
	}
	if u.Username == "" && u.PasswordFile != "" {
		l.problem(at, "has a password file but no username; write both or neither")
	}
}

// upstreamTexts reads upstreams as flags and the environment write them:
// name=docker.io,url=https://registry-1.docker.io,username=u,password-file=/f.
func (l *loader) upstreamTexts(at place, texts []string) {
	l.upstreams(at, len(texts), func(i int, u *Upstream) place {
		l.upstreamText(at.index(i), texts[i], u)
		return at.index(i)
	})
}

func (l *loader) upstreamText(at place, text string, u *Upstream) {
	seen := make(map[string]bool)
	for i, part := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			// The part is not repeated: it may be half of a secret.
			l.problem(at, "part %d is not key=value; write such as name=docker.io,url=https://registry-1.docker.io", i+1)
			continue
		}
		f := upstreamKey(strings.ReplaceAll(key, "-", "_"))
		switch {
		case f == nil:
			l.problem(at, "unknown key %q; %s", key, suggest(key, upstreamKeys(), dashed))
		case seen[f.key]:
			l.problem(at.child(key), "is written twice; keep one")
		default:
			seen[f.key] = true
			l.setUpstream(u, f, at.child(key), value)
		}
	}
}

// dashed spells a key as flags do.
func dashed(key string) string { return strings.ReplaceAll(key, "_", "-") }

var nameRE = regexp.MustCompile(`^[a-z0-9.-]+(?::[0-9]+)?$`)

// parseName accepts a lower-case host[:port].
func parseName(s string) (string, error) {
	host, port, hasPort := strings.Cut(s, ":")
	if !nameRE.MatchString(s) || !hostRE.MatchString(host) || hasPort && !isPort(port) {
		return "", fmt.Errorf("%q is not a registry's name; write a lower-case host or host:port, such as docker.io", s)
	}
	return s, nil
}

// parseURL accepts the base of a registry's API. No error repeats user
// information or a query: they may hold a secret.
func parseURL(s string) (string, error) {
	s = strings.TrimRight(s, "/")
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "@") && (err != nil || u.User != nil || u.Opaque != ""):
		return "", fmt.Errorf("holds a user name or password; write them as username and password_file")
	case strings.ContainsAny(s, "?#"):
		return "", fmt.Errorf("has a query or fragment; write only the scheme, the host and perhaps a path")
	case err != nil || !printable(s) || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" && !isPort(u.Port()):
		return "", fmt.Errorf("%q is not a registry's URL; write http or https and a host, such as https://registry-1.docker.io", s)
	}
	return s, nil
}

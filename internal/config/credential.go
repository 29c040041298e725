package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Credential is one login for an upstream: a user with a password file, a Docker
// configuration, a credential helper, or anonymous.
type Credential struct {
	Name         string // unique in its upstream; a metric label, never the user name
	Username     string // set if and only if PasswordFile is
	PasswordFile string
	DockerConfig string // path of a docker config.json
	Helper       string // of the program docker-credential-<Helper>
	Anonymous    bool   // only for the last credential of an upstream
}

// The kinds of credentials, which are also their default names.
const (
	loginKind        = "login"
	dockerConfigKind = "docker-config"
	helperKind       = "helper"
	anonymousKind    = "anonymous"
)

// kinds returns the kinds whose keys are set in c.
func (c Credential) kinds() []string {
	var kinds []string
	for _, kind := range []struct {
		name string
		has  bool
	}{
		{loginKind, c.Username != "" || c.PasswordFile != ""},
		{dockerConfigKind, c.DockerConfig != ""},
		{helperKind, c.Helper != ""},
		{anonymousKind, c.Anonymous},
	} {
		if kind.has {
			kinds = append(kinds, kind.name)
		}
	}
	return kinds
}

var credentials = list[Credential]{
	table: table[Credential]{
		scalar("name", parseLabel, func(c *Credential) *string { return &c.Name }),
		scalar("username", parseText, func(c *Credential) *string { return &c.Username }),
		scalar("password_file", parsePath, func(c *Credential) *string { return &c.PasswordFile }),
		scalar("docker_config", parsePath, func(c *Credential) *string { return &c.DockerConfig }),
		scalar("helper", parseHelper, func(c *Credential) *string { return &c.Helper }),
		scalar("anonymous", parseYes, func(c *Credential) *yes { return (*yes)(&c.Anonymous) }),
	},
	check: checkCredential,
}

// checkCredential checks the last item, and sets its default name.
func checkCredential(l *loader, at place, items []Credential) {
	last := len(items) - 1
	c := &items[last]
	kinds := c.kinds()
	if len(kinds) != 1 {
		l.problem(at, "is not exactly one credential; write either username and password_file, or docker_config, or helper, or anonymous: true")
		return
	}
	checkLogin(l, at, *c)
	unnamed := c.Name == ""
	if unnamed {
		c.Name = kinds[0]
	}
	if i := slices.IndexFunc(items, func(other Credential) bool { return other.Name == c.Name }); i < last {
		has := "has the name"
		if unnamed {
			has = "has no name, so it is called"
		}
		l.problem(at, "%s %s, which %s already uses; give each a unique name", has, c.Name, at.sibling(i).name)
	}
	if last > 0 && items[last-1].Anonymous {
		l.problem(at, "comes after %s, which is anonymous and used when the others have nothing left; put the anonymous one last", at.sibling(last-1).name)
	}
}

// checkLogin checks that a user name has a password file, and vice versa.
func checkLogin(l *loader, at place, c Credential) {
	if c.Username != "" && c.PasswordFile == "" {
		l.problem(at, "has a username but no password file; write both or neither")
	}
	if c.Username == "" && c.PasswordFile != "" {
		l.problem(at, "has a password file but no username; write both or neither")
	}
}

var (
	labelRE  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	helperRE = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// parseLabel accepts a name that is suitable as the value of a metric label.
func parseLabel(s string) (string, error) {
	if !labelRE.MatchString(s) {
		return "", fmt.Errorf("%q is not a valid credential name; write up to 32 lower-case letters, digits, _ and -, such as team-a", s)
	}
	return s, nil
}

// parseHelper accepts what can be part of the name of a program.
func parseHelper(s string) (string, error) {
	if !helperRE.MatchString(s) || strings.HasPrefix(s, "docker-credential-") {
		return "", fmt.Errorf("%q is not a valid helper name; write the part of the program's name after docker-credential-, such as pass", s)
	}
	return s, nil
}

// yes is a key that is either true or left out.
type yes bool

// String is empty for a key that is left out.
func (y yes) String() string {
	if y {
		return "true"
	}
	return ""
}

// parseFlag accepts false, too.
func parseFlag(s string) (yes, error) {
	value, err := parseBool(s)
	return yes(value), err
}

func parseYes(s string) (yes, error) {
	if s != "true" {
		return false, fmt.Errorf("%q is not valid; write true or leave it out", s)
	}
	return true, nil
}

package upstream

import (
	"net/http"
	"strings"
)

const (
	bearer = "bearer"
	basic  = "basic"

	maxChallenges = 16 // read from one response
)

// challenge is one challenge of a WWW-Authenticate header. The zero challenge stands
// for a registry that requires no authorization.
type challenge struct {
	scheme string            // lower case
	params map[string]string // by lower-case name
}

// key is equal for challenges that are answered alike. It leaves out the scope and
// the error, which belong to one request.
func (c challenge) key() string {
	if c.scheme != bearer {
		return c.scheme
	}
	return c.scheme + " " + c.params["realm"] + " " + c.params["service"]
}

// choose returns the challenge to answer. Bearer is preferred at any position: Gitea
// and others also offer Basic, which would send the login itself.
func choose(all []challenge) (challenge, bool) {
	for _, c := range all {
		if c.scheme == bearer && c.params["realm"] != "" {
			return c, true
		}
	}
	for _, c := range all {
		if c.scheme == basic {
			return c, true
		}
	}
	return challenge{}, false
}

// bearerError returns the error parameter of a Bearer challenge (RFC 6750, section
// 3.1), or "".
func bearerError(all []challenge) string {
	for _, c := range all {
		if c.scheme == bearer && c.params["error"] != "" {
			return c.params["error"]
		}
	}
	return ""
}

// parseChallenges reads all WWW-Authenticate headers: RFC 9110, section 11.6.1.
// One header may hold several challenges, and commas separate both challenges and
// parameters. Whatever does not match the grammar is skipped.
func parseChallenges(h http.Header) []challenge {
	var all []challenge
	for _, line := range h.Values("Www-Authenticate") {
		s := scanner{rest: line, first: true}
		for s.rest != "" && len(all) <= maxChallenges {
			all = s.next(all)
		}
	}
	return all
}

// scanner reads one header.
type scanner struct {
	rest  string
	first bool // rest is at the start of a list element, where a scheme may be
}

// next reads a scheme, or a parameter of the last challenge of all.
func (s *scanner) next(all []challenge) []challenge {
	s.skip()
	name := s.token()
	first := s.first
	s.first = false
	switch {
	case name == "":
		s.rest = s.rest[min(1, len(s.rest)):]
	case s.equals():
		value := s.value()
		if len(all) > 0 {
			all[len(all)-1].set(name, value)
		}
	case first:
		return append(all, challenge{scheme: strings.ToLower(name)})
	default: // a token68, which only unsupported schemes use
		s.until(func(r rune) bool { return r == ',' })
	}
	return all
}

// skip skips blanks and commas; list elements may be empty.
func (s *scanner) skip() {
	trimmed := strings.TrimLeft(s.rest, " \t,")
	s.first = s.first || strings.Contains(s.rest[:len(s.rest)-len(trimmed)], ",")
	s.rest = trimmed
}

func (s *scanner) token() string { return s.until(func(r rune) bool { return !isToken(r) }) }

// until reads up to the first rune for which end returns true.
func (s *scanner) until(end func(rune) bool) string {
	at := strings.IndexFunc(s.rest, end)
	if at < 0 {
		at = len(s.rest)
	}
	read := s.rest[:at]
	s.rest = s.rest[at:]
	return read
}

// isToken reports whether r may be in a token: RFC 9110, section 5.6.2.
func isToken(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// equals reads the "=" between a name and its value, with the blanks that RFC 9110,
// section 11.2, tolerates around it.
func (s *scanner) equals() bool {
	value, ok := strings.CutPrefix(strings.TrimLeft(s.rest, " \t"), "=")
	if ok {
		s.rest = strings.TrimLeft(value, " \t")
	}
	return ok
}

// value reads a quoted string, or everything up to the next blank or comma: some
// registries send an unquoted URL, which is not a token.
func (s *scanner) value() string {
	if !strings.HasPrefix(s.rest, `"`) {
		return s.until(func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	}
	var value strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return value.String()
		case c == '\\' && i+1 < len(s.rest):
			i++
			value.WriteByte(s.rest[i])
		default:
			value.WriteByte(c)
		}
	}
	s.rest = "" // the quote is not closed
	return value.String()
}

// set adds a parameter; the first one of a name wins.
func (c *challenge) set(name, value string) {
	if c.params == nil {
		c.params = make(map[string]string)
	}
	name = strings.ToLower(name)
	if _, ok := c.params[name]; !ok {
		c.params[name] = value
	}
}

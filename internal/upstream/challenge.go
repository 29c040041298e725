package upstream

import (
	"net/http"
	"strings"
)

const (
	bearer = "bearer"
	basic  = "basic"

	maxChallenges = 16 // of one answer; more help nobody
)

// challenge is one way to be let in that a WWW-Authenticate header names. The
// zero challenge is that of a registry which asks for nothing.
type challenge struct {
	scheme string            // lower case
	params map[string]string // by lower-case name
}

// key is equal for challenges that are answered alike: the scope and the error
// are of one request.
func (c challenge) key() string {
	if c.scheme != bearer {
		return c.scheme
	}
	return c.scheme + " " + c.params["realm"] + " " + c.params["service"]
}

// choose returns the challenge to answer. Bearer comes first wherever it
// stands: Gitea and others name Basic beside it, which sends the login itself.
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

// bearerError returns why a Bearer token was refused, as RFC 6750, section 3.1,
// has it; empty when that is not told.
func bearerError(all []challenge) string {
	for _, c := range all {
		if c.scheme == bearer && c.params["error"] != "" {
			return c.params["error"]
		}
	}
	return ""
}

// parseChallenges reads all WWW-Authenticate headers: RFC 9110, section 11.6.1.
// One header may name several challenges, and the comma between them stands
// between their parameters too. What does not follow the grammar is skipped.
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
	first bool // rest begins an element of the list: a scheme may stand here
}

// next reads a scheme, or a parameter of the last one of all.
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
	default: // a token68, which belongs to a scheme that is not known here
		s.until(func(r rune) bool { return r == ',' })
	}
	return all
}

// skip passes over blanks and the commas between elements, of which some may be
// empty.
func (s *scanner) skip() {
	trimmed := strings.TrimLeft(s.rest, " \t,")
	s.first = s.first || strings.Contains(s.rest[:len(s.rest)-len(trimmed)], ",")
	s.rest = trimmed
}

func (s *scanner) token() string { return s.until(func(r rune) bool { return !isToken(r) }) }

// until reads what comes before the first rune that is an end.
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

// equals reads the sign between a name and its value, with the blanks that
// section 11.2 tolerates around it.
func (s *scanner) equals() bool {
	value, ok := strings.CutPrefix(strings.TrimLeft(s.rest, " \t"), "=")
	if ok {
		s.rest = strings.TrimLeft(value, " \t")
	}
	return ok
}

// value reads a quoted string, or what comes before the next blank or comma: an
// unquoted address is no token, and registries send it.
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

// set notes a parameter; of two with one name the first counts.
func (c *challenge) set(name, value string) {
	if c.params == nil {
		c.params = make(map[string]string)
	}
	name = strings.ToLower(name)
	if _, ok := c.params[name]; !ok {
		c.params[name] = value
	}
}

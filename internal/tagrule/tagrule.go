// Package tagrule determines how long tags stay fresh, by patterns.
//
// A pattern is NAME or NAME:TAG; without TAG it matches every tag. The two are
// separated by the last colon that no slash follows, so localhost:5000/** is only a
// NAME.
//
//   - * and ? match within one path component, ** as a component matches any number
//     of components, including none; [abc] and {a,b} work as in shells, and \ quotes
//     the next character.
//   - A NAME without a slash matches the last component at any depth, as in
//     .gitignore: nginx matches library/nginx and corp/nginx, and *:latest matches
//     the latest of every image.
//   - A NAME with a slash matches the repository, such as library/alpine, or the
//     upstream and the repository, such as ghcr.io/org/app.
package tagrule

import (
	"path"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Rule says how long the tags that match a pattern are fresh.
type Rule struct {
	Match string        // a pattern that Check accepts
	Fresh time.Duration // 0: never
}

// Rules are applied in order: the first match wins.
type Rules []Rule

// Fresh returns how long a tag is fresh according to the first rule that matches;
// false when none does.
func (r Rules) Fresh(upstream, repository, tag string) (time.Duration, bool) {
	for _, rule := range r {
		if rule.matches(upstream, repository, tag) {
			return rule.Fresh, true
		}
	}
	return 0, false
}

func (r Rule) matches(upstream, repository, tag string) bool {
	name, tags, tagged := split(r.Match)
	switch {
	case tagged && !doublestar.MatchUnvalidated(tags, tag):
		return false
	case !strings.Contains(name, "/"):
		return doublestar.MatchUnvalidated(name, path.Base(repository))
	}
	return doublestar.MatchUnvalidated(name, repository) || doublestar.MatchUnvalidated(name, upstream+"/"+repository)
}

// split returns the two parts of a pattern; tagged is false when it has no TAG.
func split(pattern string) (name, tag string, tagged bool) {
	colon := strings.LastIndexByte(pattern, ':')
	if colon < 0 || strings.Contains(pattern[colon:], "/") {
		return pattern, "", false
	}
	return pattern[:colon], pattern[colon+1:], true
}

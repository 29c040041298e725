// Package tagrule says which tags stay fresh for how long.
//
// A pattern is NAME or NAME:TAG, and without TAG it matches every tag. The last
// colon that has no slash behind it separates the two, so localhost:5000/** is a
// NAME alone.
//
//   - * and ? stay within one component of a path, ** in a component's place
//     stands for any number of them, none included; [abc] and {a,b} are as in
//     shells, and \ takes what follows literally.
//   - A NAME without a slash matches the last component at any depth, as in
//     .gitignore: nginx is library/nginx and corp/nginx, and *:latest is every
//     image's latest.
//   - A NAME with a slash matches the repository, such as library/alpine, or the
//     upstream and the repository, such as ghcr.io/org/app.
package tagrule

import (
	"path"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Rule says how long the tags that Match names are fresh.
type Rule struct {
	Match string        // a pattern that Check accepts
	Fresh time.Duration // 0: never
}

// Rules are asked in their order.
type Rules []Rule

// Fresh returns the time of the first rule that matches; false when none does.
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

// split returns the two parts of a pattern; false when it has no TAG.
func split(pattern string) (name, tag string, tagged bool) {
	colon := strings.LastIndexByte(pattern, ':')
	if colon < 0 || strings.Contains(pattern[colon:], "/") {
		return pattern, "", false
	}
	return pattern[:colon], pattern[colon+1:], true
}

package tagrule

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// maxAlternatives limits the alternatives in all {…} of a part together: doublestar
// tries every combination, and with 16 there are fewer than 250.
const maxAlternatives = 16

var (
	foreignToNameRE  = regexp.MustCompile(`[^a-z0-9._/:*?\[\]{},\\!^-]`)
	foreignToTagRE   = regexp.MustCompile(`[^A-Za-z0-9_.*?\[\]{},\\!^-]`)
	noComponentRE    = regexp.MustCompile(`^/|//|/$`)
	foreignToClassRE = regexp.MustCompile(`\[[!^A-Za-z0-9._-]*[^\]!^A-Za-z0-9._-]`) // can never match; some are ErrBadPattern for doublestar
	starsBesideRE    = regexp.MustCompile(`[^/{,]\*\*|\*\*[^/},]`)                  // doublestar treats them as a single *
)

// Check returns an error with what is wrong with a pattern, and what to write
// instead. Rules accept every other pattern.
func Check(pattern string) error {
	name, tag, tagged := split(pattern)
	switch {
	case name == "":
		return fmt.Errorf("%q has no name; write for example *:latest", pattern)
	case tagged && tag == "":
		return fmt.Errorf("%q has no tag after the colon; write for example %[1]slatest, or omit the colon to match every tag", pattern)
	case noComponentRE.MatchString(name):
		return fmt.Errorf("%q has a leading, trailing or double slash; write for example library/* or corp/**", pattern)
	case starsBesideRE.MatchString(name):
		return fmt.Errorf("%q has ** next to other characters; put it between slashes, such as corp/**/app, or write *", pattern)
	}
	if foreign := foreignToNameRE.FindString(name); foreign != "" {
		return fmt.Errorf("%q contains %q, which no repository name can; write lower-case letters, digits and . _ - /", pattern, foreign)
	}
	if foreign := foreignToTagRE.FindString(tag); foreign != "" {
		return fmt.Errorf("%q contains %q, which no tag can; write letters, digits and . _ -", pattern, foreign)
	}
	if err := checkGlob(name); err != nil {
		return err
	}
	return checkGlob(tag)
}

// checkGlob checks that doublestar accepts one part of a pattern.
func checkGlob(part string) error {
	if !doublestar.ValidatePattern(part) {
		return fmt.Errorf(`%q is incomplete; close each [ and {, put something inside [], and do not end in \`, part)
	}
	if class := foreignToClassRE.FindString(part); class != "" {
		return fmt.Errorf("%q contains %q; write only letters, digits and . _ - between [ and ]", part, class)
	}
	if strings.Count(part, "{")+strings.Count(part, ",") > maxAlternatives {
		return fmt.Errorf("%q has more than %d alternatives in {…}; split it into several rules", part, maxAlternatives)
	}
	return nil
}

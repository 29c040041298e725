package warm

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// readServices reads the images of a compose file.
func (r *reader) readServices(t *tree, services ast.Node) {
	for name, service := range t.pairs(services) {
		image := t.get(service, "image")
		text, ok := t.text(image)
		if !ok {
			continue // it is only built
		}
		line := r.lineOf(image)
		if t.get(service, "build") != nil {
			r.skip(line, "service %.80s is built, not pulled", name)
			continue
		}
		expanded, missing := expand(text, r.env)
		if missing != "" {
			r.skip(line, "%.80s needs the variable %.80s, which is not set and has no default", text, missing)
			continue
		}
		r.add(line, Image{Name: expanded})
	}
}

// variableRE matches $$, $NAME, ${NAME}, and ${NAME:-default} with - ? + and their forms
// with a colon.
var variableRE = regexp.MustCompile(`\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^{}]*))?\})`)

// expand replaces variables as compose does. missing is one that has no value, or what is
// left of a form that is not known.
func expand(text string, env func(string) (string, bool)) (expanded, missing string) {
	expanded = variableRE.ReplaceAllStringFunc(text, func(match string) string {
		part := variableRE.FindStringSubmatch(match)
		name, operator, word := part[1]+part[2], part[3], part[4]
		if name == "" {
			return "$"
		}
		value, set := env(name)
		if strings.HasPrefix(operator, ":") {
			set = set && value != ""
		}
		switch {
		case strings.HasSuffix(operator, "+") && set:
			return word
		case strings.HasSuffix(operator, "+"):
			return ""
		case set:
			return value
		case strings.HasSuffix(operator, "-"):
			return word
		}
		missing = name
		return ""
	})
	if _, rest, found := strings.Cut(expanded, "$"); found && missing == "" {
		missing = rest
	}
	return expanded, missing
}

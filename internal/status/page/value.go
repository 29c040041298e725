package page

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"

	"mirrord/internal/status"
)

// node is a part of a status as /v1/live sends it: decoded JSON. The template and
// status.js find and format the same values by the same specs, such as
// "percent today.hits today.requests": a format, and the paths of what it needs.
type node struct {
	value any
	now   time.Time
}

// blank is what rows are made of before there is anything to list.
var blank node

func newNode(s status.Status) (node, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return node{}, err
	}
	n := node{now: s.Now}
	return n, json.Unmarshal(raw, &n.value)
}

// at returns the value at a path such as today.hits, nil if there is none.
func (n node) at(path string) any {
	value := n.value
	for key := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[key]
	}
	return value
}

// items returns what is listed at a path. Those of an object have a key and a value,
// sorted by the former.
func items(n node, path string) (all []node) {
	switch value := n.at(path).(type) {
	case []any:
		for _, item := range value {
			all = append(all, node{item, n.now})
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			all = append(all, node{map[string]any{"key": key, "value": value[key]}, n.now})
		}
	}
	return all
}

// isEmpty reports whether there is nothing at each of some paths, separated by spaces.
func isEmpty(n node, paths string) bool {
	for path := range strings.FieldsSeq(paths) {
		switch value := n.at(path).(type) {
		case nil:
		case bool:
			if value {
				return false
			}
		case []any:
			if len(value) > 0 {
				return false
			}
		case map[string]any:
			if len(value) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// format returns what spec says of n.
func format(n node, spec string) (string, error) {
	fields := strings.Fields(spec)
	apply := formats[fields[0]]
	if apply == nil {
		return "", fmt.Errorf("no format %q", spec)
	}
	var values []any
	for _, path := range fields[1:] {
		values = append(values, n.at(path))
	}
	return apply(n.now, values), nil
}

// functions are those of the template.
var functions = template.FuncMap{
	"blank": func() node { return blank },
	"items": items,
	"live":  live,
	"bind":  bind,
	"when":  func(n node, paths string) template.HTMLAttr { return show("data-when", paths, !isEmpty(n, paths)) },
	"unless": func(n node, paths string) template.HTMLAttr {
		return show("data-unless", paths, isEmpty(n, paths))
	},
}

// live is a text that the script replaces.
func live(n node, spec string) (template.HTML, error) {
	text, err := format(n, spec)
	return template.HTML(`<span data-live="` + spec + `">` + template.HTMLEscapeString(text) + `</span>`), err
}

// bind is an attribute that the script replaces, at most one of an element; there is none
// while it would be empty.
func bind(n node, name, spec string) (template.HTMLAttr, error) {
	text, err := format(n, spec)
	bound := `data-bind="` + name + " " + spec + `"`
	if text != "" {
		bound += " " + name + `="` + template.HTMLEscapeString(text) + `"`
	}
	return template.HTMLAttr(bound), err
}

// show hides an element, until the script finds that it is to be shown.
func show(name, paths string, visible bool) template.HTMLAttr {
	if visible {
		return template.HTMLAttr(name + `="` + paths + `"`)
	}
	return template.HTMLAttr(name + `="` + paths + `" hidden`)
}

package config

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// walker applies the nodes of one file to a loader.
type walker struct {
	*loader
	path string
}

// syntax reports an error of the parser.
func (w walker) syntax(err error) {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		w.problem(w.atToken("", located.GetToken()), "invalid YAML: %s; check the indentation, with spaces only, and brackets and quotes", located.GetMessage())
		return
	}
	w.problem(place{position: w.path}, "invalid YAML: %v", err)
}

// at returns the place of node, the value of key.
func (w walker) at(key string, node ast.Node) place {
	// The token of a mapping in block style is the colon of its first key.
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		node = m.Values[0].Key
	}
	return w.atToken(key, node.GetToken())
}

func (w walker) atToken(key string, t *token.Token) place {
	return place{position: fmt.Sprintf("%s:%d:%d", w.path, t.Position.Line, t.Position.Column), name: key}
}

// group applies the mapping node at that place; the name of the root is empty.
func (w walker) group(at place, node ast.Node) {
	for key, child := range w.pairs(at, node, keysBelow(at.name)) {
		value := w.at(at.child(key).name, child)
		if s := settingByKey(value.name); s != nil {
			w.set(s, yamlValue{w, value, child})
		} else {
			w.group(value, child)
		}
	}
}

// pairs yields the known keys of node, a mapping at that place, and their values, and
// reports all other keys. An empty value, such as that of a group whose lines are all
// comments, is a mapping without keys.
func (w walker) pairs(at place, node ast.Node, known []string) iter.Seq2[string, ast.Node] {
	return func(yield func(string, ast.Node) bool) {
		mapping, ok := node.(*ast.MappingNode)
		if !ok {
			if node.Type() != ast.NullType {
				w.wrongKind(at, node, "a mapping with the keys "+strings.Join(known, ", "))
			}
			return
		}
		lines := make(map[string]int)
		for _, v := range mapping.Values {
			key, ok := w.key(at, v.Key, known, lines)
			if ok && !yield(key, v.Value) {
				return
			}
		}
	}
}

// key returns the text of node, a key of the mapping at that place. It returns false
// when it has reported a problem. lines has the lines of the keys before it.
func (w walker) key(at place, node ast.MapKeyNode, known []string, lines map[string]int) (string, bool) {
	key, plain := plainKey(node)
	where, full := w.at("", node), at.child(key).name
	line, repeated := lines[key]
	switch {
	case !plain:
		w.problem(where, "is not a plain key; write one of %s", strings.Join(known, ", "))
	case !slices.Contains(known, key):
		w.problem(where, "unknown key %q; %s", full, suggestKey(at, key, known))
	case repeated:
		w.problem(where, "%s: is also set on line %d; keep one", full, line)
	default:
		lines[key] = node.GetToken().Position.Line
		return key, true
	}
	return "", false
}

// plainKey returns the text of a key that is a single value.
func plainKey(node ast.MapKeyNode) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// wrongKind reports that node is not of the kind that that place requires.
func (w walker) wrongKind(at place, node ast.Node, want string) {
	kind := "is a single value"
	switch node.(type) {
	case *ast.MappingNode:
		kind = "is a mapping"
	case *ast.SequenceNode:
		kind = "is a list"
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		kind = "has an anchor, alias or tag"
	}
	w.problem(at, "%s; write %s", kind, want)
}

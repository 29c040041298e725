package config

import (
	"iter"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// yamlValue is a value in a file.
type yamlValue struct {
	walker
	place place
	node  ast.Node
}

func (v yamlValue) where() place { return v.place }

// single returns the text as it is in the file, also where YAML reads a number or a
// boolean.
func (v yamlValue) single() (string, bool) {
	switch n := v.node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		v.problem(v.place, "has no value; write one or remove the key")
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		v.wrongKind(v.place, v.node, "a single value, in quotes if it starts with *, & or !")
	default:
		v.wrongKind(v.place, v.node, "a single value")
	}
	return "", false
}

func (v yamlValue) plain() bool {
	switch v.node.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return true
	}
	return false
}

func (v yamlValue) words() []value {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		return []value{v}
	}
	values := make([]value, len(n.Values))
	for i, entry := range n.Values {
		values[i] = yamlValue{v.walker, v.at(v.place.index(i).name, entry), entry}
	}
	return values
}

// list treats an empty value as a list without entries.
func (v yamlValue) list(keys []string) ([]value, bool) {
	switch v.node.(type) {
	case *ast.SequenceNode:
		return v.words(), true
	case *ast.NullNode:
		return nil, true
	}
	v.wrongKind(v.place, v.node, "a list of mappings with the keys "+strings.Join(keys, ", "))
	return nil, false
}

func (v yamlValue) pairs(known []string) iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		for key, child := range v.walker.pairs(v.place, v.node, known) {
			if !yield(key, yamlValue{v.walker, v.at(v.place.child(key).name, child), child}) {
				return
			}
		}
	}
}

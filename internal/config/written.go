package config

import (
	"iter"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// written is a value as a file has it.
type written struct {
	walker
	place place
	node  ast.Node
}

func (v written) where() place { return v.place }

// single is the text as it was written: what looks like a number to YAML is none
// to us.
func (v written) single() (string, bool) {
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
		v.shape(v.place, v.node, "a single value, in quotes if it starts with *, & or !")
	default:
		v.shape(v.place, v.node, "a single value")
	}
	return "", false
}

// list takes an empty value for a list without entries.
func (v written) list(keys []string) ([]value, bool) {
	switch n := v.node.(type) {
	case *ast.SequenceNode:
		values := make([]value, len(n.Values))
		for i, entry := range n.Values {
			values[i] = written{v.walker, v.at(v.place.index(i).name, entry), entry}
		}
		return values, true
	case *ast.NullNode:
		return nil, true
	}
	v.shape(v.place, v.node, "a list of mappings with the keys "+strings.Join(keys, ", "))
	return nil, false
}

func (v written) pairs(known []string) iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		for key, child := range v.walker.pairs(v.place, v.node, known) {
			if !yield(key, written{v.walker, v.at(v.place.child(key).name, child), child}) {
				return
			}
		}
	}
}

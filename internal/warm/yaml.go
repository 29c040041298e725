package warm

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of YAML: deeper nesting takes the parser minutes, and aliases can make a small
// file stand for a huge one.
const (
	maxDepth  = 50
	maxVisits = 200_000
)

// readYAML reads documents of a kind that they show themselves.
func (r *reader) readYAML(lines []string) error {
	if line := tooDeep(lines); line > 0 {
		return fmt.Errorf("%s:%d: is nested too deeply to be a list of images", r.name, line)
	}
	for begin := 0; begin < len(lines); {
		end := begin
		for end < len(lines) && (end == begin || !isMarker(lines[end])) {
			end++
		}
		r.before = begin
		if err := r.readDocument(lines[begin:end]); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// isMarker reports whether a document begins with line.
func isMarker(line string) bool {
	return line == "---" || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "---\r")
}

// readDocument reads one document: given several, the parser ends at one of comments
// alone.
func (r *reader) readDocument(lines []string) error {
	file, err := parser.ParseBytes([]byte(strings.Join(lines, "\n")), 0)
	if err != nil {
		return r.syntax(err)
	}
	for _, document := range file.Docs {
		if document.Body == nil || document.Body.Type() == ast.NullType || document.Body.Type() == ast.CommentType || document.Body.Type() == ast.DirectiveType {
			continue
		}
		t := newTree(document.Body)
		if err := r.readRoot(t, document.Body); err != nil {
			return err
		}
		if t.visits > maxVisits {
			return fmt.Errorf("%s: has too many entries or aliases to be a list of images", r.name)
		}
	}
	return nil
}

// readRoot reads a document by what it has at its root.
func (r *reader) readRoot(t *tree, root ast.Node) error {
	switch services := t.get(root, "services"); {
	case t.get(root, "apiVersion") != nil && t.get(root, "kind") != nil:
		r.readManifest(t, root, 0)
		return nil
	case services != nil:
		r.readServices(t, services)
		return nil
	}
	if n, ok := t.resolve(root).(*ast.SequenceNode); ok {
		for _, entry := range n.Values {
			name, ok := t.text(entry)
			if !ok {
				return r.wrong(entry, "is not the name of an image; write for example - alpine:3")
			}
			r.add(r.lineOf(entry), Image{Name: name})
		}
		return nil
	}
	for registry, node := range t.pairs(root) {
		if err := r.readRegistry(t, registry, node); err != nil {
			return err
		}
	}
	if _, ok := t.resolve(root).(*ast.MappingNode); !ok {
		return r.wrong(root, "not a list of images: write one image a line, or give a YAML file of skopeo sync, a compose file, manifests of Kubernetes, or the output of docker image ls")
	}
	return nil
}

// wrong returns the error of what is at node.
func (r *reader) wrong(node ast.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", r.name, r.lineOf(node), fmt.Sprintf(format, args...))
}

func (r *reader) syntax(err error) error {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		return fmt.Errorf("%s:%d: neither a list with one image a line nor valid YAML: %s", r.name, r.before+located.GetToken().Position.Line, located.GetMessage())
	}
	return fmt.Errorf("%s: neither a list with one image a line nor valid YAML: %w", r.name, err)
}

// tooDeep returns the line at which nesting exceeds maxDepth, 0 when none does. It counts
// brackets in quotes too, which names of images do not have.
func tooDeep(lines []string) int {
	depth := 0
	for i, line := range lines {
		depth += strings.Count(line, "[") + strings.Count(line, "{")
		content := strings.TrimLeft(line, " -\t?")
		if depth > maxDepth || len(line)-len(content) > 4*maxDepth {
			return i + 1
		}
		depth -= strings.Count(line, "]") + strings.Count(line, "}")
		depth = max(depth, 0)
	}
	return 0
}

// lineOf returns the line of node in the file.
func (r *reader) lineOf(node ast.Node) int {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		node = m.Values[0].Key // the token of the mapping itself is a colon
	}
	return r.before + node.GetToken().Position.Line
}

// tree is a document, whose aliases and merges are resolved as it is read.
type tree struct {
	anchors map[string]ast.Node
	visits  int
}

func newTree(root ast.Node) *tree {
	t := &tree{anchors: make(map[string]ast.Node)}
	ast.Walk(anchors(t.anchors), root)
	return t
}

// anchors is a Visitor that collects what anchors name.
type anchors map[string]ast.Node

// Visit implements ast.Visitor.
func (a anchors) Visit(node ast.Node) ast.Visitor {
	if n, ok := node.(*ast.AnchorNode); ok {
		a[n.Name.GetToken().Value] = n.Value
	}
	return a
}

// resolve returns what node stands for; nil when that is unknown or too much was read.
func (t *tree) resolve(node ast.Node) ast.Node {
	for t.visits++; t.visits <= maxVisits; t.visits++ {
		switch n := node.(type) {
		case *ast.AliasNode:
			node = t.anchors[n.Value.GetToken().Value]
		case *ast.AnchorNode:
			node = n.Value
		case *ast.TagNode:
			node = n.Value
		default:
			return node
		}
	}
	return nil
}

// text returns a single value as it is written.
func (t *tree) text(node ast.Node) (string, bool) {
	switch n := t.resolve(node).(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// pairs yields keys and values of a mapping, and then those that are merged into it; none
// for another node.
func (t *tree) pairs(node ast.Node) iter.Seq2[string, ast.Node] {
	return func(yield func(string, ast.Node) bool) {
		mapping, ok := t.resolve(node).(*ast.MappingNode)
		if !ok {
			return
		}
		var merged []ast.Node
		for _, v := range mapping.Values {
			if v.Key.IsMergeKey() {
				merged = append(merged, v.Value)
			} else if !yield(v.Key.GetToken().Value, v.Value) {
				return
			}
		}
		for _, m := range merged {
			for key, value := range t.pairs(m) {
				if !yield(key, value) {
					return
				}
			}
		}
	}
}

// get returns the value of a key, nil when the node has none.
func (t *tree) get(node ast.Node, key string) ast.Node {
	for k, v := range t.pairs(node) {
		if k == key {
			return v
		}
	}
	return nil
}

// items returns the entries of a sequence; none for another node.
func (t *tree) items(node ast.Node) []ast.Node {
	if n, ok := t.resolve(node).(*ast.SequenceNode); ok {
		return n.Values
	}
	return nil
}

// containers are the keys of the lists of containers in a pod.
var containers = []string{"containers", "initContainers", "ephemeralContainers"}

// readManifest reads the images of the containers, and of the volumes, at any depth.
func (r *reader) readManifest(t *tree, node ast.Node, depth int) {
	if depth > maxDepth {
		return
	}
	for key, value := range t.pairs(node) {
		for _, item := range t.items(value) {
			image := t.get(item, "image")
			if key == "volumes" && image != nil {
				image = t.get(image, "reference")
			}
			if name, ok := t.text(image); ok && (key == "volumes" || slices.Contains(containers, key)) {
				r.add(r.lineOf(image), Image{Name: name})
			}
			r.readManifest(t, item, depth+1)
		}
		r.readManifest(t, value, depth+1)
	}
}

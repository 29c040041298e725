package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// file applies the YAML file at path. An empty one changes nothing.
func (l *loader) file(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err
		}
		l.problem(place{position: path}, "cannot be read: %v", err)
		return
	}
	l.parse(path, data)
}

// parse applies data, the content of the file at path.
func (l *loader) parse(path string, data []byte) {
	if !utf8.Valid(data) {
		l.problem(place{position: path + ":" + invalid(data)}, "is not UTF-8 text")
		return
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	w := walker{loader: l, path: path}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // walker.key reports all duplicates, not only the first
	if err != nil {
		w.syntax(err)
		return
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if root != nil {
			l.problem(w.at("", doc.Body), "a second YAML document starts here; keep one")
			return
		}
		root = doc.Body
	}
	if root != nil {
		w.group(w.at("", root), root)
	}
}

// invalid returns the line and column of the first byte that is not UTF-8.
func invalid(data []byte) string {
	line, column := 1, 1
	for r, n := utf8.DecodeRune(data); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(data) {
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[n:]
	}
	return fmt.Sprintf("%d:%d", line, column)
}

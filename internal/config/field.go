package config

import (
	"fmt"
	"strings"
)

// field is one key of the mapping that holds a T.
type field[T any] struct {
	key     string // from the root of the file; a dot is one level of nesting
	list    bool   // a list of mappings, not a single value
	missing string // the problem when the key is missing; empty: it is optional

	read  func(l *loader, into *T, v value) // sets the field to v, or reports the problems of v
	write func(from *T) []string            // YAML lines for read; none for an empty value
}

// scalar returns a field of a single value, stored where at points.
func scalar[T, V any](key string, parse func(string) (V, error), at func(*T) *V) field[T] {
	return field[T]{
		key: key,
		read: func(l *loader, into *T, v value) {
			text, ok := v.single()
			if !ok {
				return
			}
			parsed, err := parse(text)
			if err != nil {
				l.problem(v.where(), "%v", err)
				return
			}
			*at(into) = parsed
		},
		write: func(from *T) []string {
			text := fmt.Sprint(*at(from))
			if text == "" {
				return nil
			}
			return []string{leaf(key) + ": " + quote(text)}
		},
	}
}

// words returns a field of a list of single values, stored where at points. A single
// value is a list of one.
func words[T any](key string, parse func(string) (string, error), at func(*T) *[]string) field[T] {
	return field[T]{
		key: key,
		read: func(l *loader, into *T, v value) {
			var parsed []string
			for _, entry := range v.words() {
				one := scalar("", parse, func(s *string) *string { return s })
				var text string
				one.read(l, &text, entry)
				parsed = append(parsed, text)
			}
			*at(into) = parsed
		},
		write: func(from *T) []string {
			var quoted []string
			for _, text := range *at(from) {
				quoted = append(quoted, quote(text))
			}
			if len(quoted) == 0 {
				return nil
			}
			return []string{leaf(key) + ": [" + strings.Join(quoted, ", ") + "]"}
		},
	}
}

// group returns a field of a mapping that holds an I, stored where at points.
func group[T, I any](key string, table table[I], at func(*T) *I) field[T] {
	return field[T]{
		key:  key,
		read: func(l *loader, into *T, v value) { table.read(l, at(into), v) },
		write: func(from *T) []string {
			lines := table.write(at(from))
			if len(lines) == 0 {
				return nil
			}
			for i, line := range lines {
				lines[i] = "  " + line
			}
			return append([]string{leaf(key) + ":"}, lines...)
		},
	}
}

// required returns f as a required key; missing is the problem when it is missing.
func (f field[T]) required(missing string) field[T] {
	f.missing = missing
	return f
}

// leaf returns the last part of a key.
func leaf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// table has all keys of the mapping that holds a T.
type table[T any] []field[T]

func (t table[T]) keys() []string {
	keys := make([]string, len(t))
	for i, f := range t {
		keys[i] = f.key
	}
	return keys
}

// read sets the fields that the mapping v has.
func (t table[T]) read(l *loader, into *T, v value) {
	before := len(l.problems)
	seen := make(map[string]bool)
	for key, child := range v.pairs(t.keys()) {
		seen[key] = true
		for _, f := range t {
			if f.key == key {
				f.read(l, into, child)
			}
		}
	}
	if len(l.problems) > before {
		return // a missing key may be a misspelled one that is already reported
	}
	for _, f := range t {
		if f.missing != "" && !seen[f.key] {
			l.problem(v.where(), "%s", f.missing)
		}
	}
}

func (t table[T]) write(from *T) []string {
	var lines []string
	for _, f := range t {
		lines = append(lines, f.write(from)...)
	}
	return lines
}

// list is a list of mappings that each hold an I.
type list[I any] struct {
	table table[I]
	none  string // the problem of an empty list; empty: it is allowed

	// short names the key that an item sets that is not a mapping but a single value;
	// empty: that is not allowed.
	short string

	// check reports the problems of the last item, which is at that place, on its own
	// and together with the items before it. It may fill in defaults. Nil: the table
	// checks everything.
	check func(l *loader, at place, items []I)
}

// listOf returns a field of a list, with its getter and setter for a T.
func listOf[T, I any](key string, list list[I], get func(*T) []I, set func(*T, []I)) field[T] {
	return field[T]{
		key:  key,
		list: true,
		read: func(l *loader, into *T, v value) {
			if items, ok := list.read(l, v); ok {
				set(into, items)
			}
		},
		write: func(from *T) []string { return list.write(leaf(key), get(from)) },
	}
}

// read returns the items of v, nil when there are none; false when v is not a list.
func (d list[I]) read(l *loader, v value) ([]I, bool) {
	values, ok := v.list(d.table.keys())
	if !ok {
		return nil, false
	}
	if len(values) == 0 && d.none != "" {
		l.problem(v.where(), "%s", d.none)
	}
	var items []I
	for _, entry := range values {
		before := len(l.problems)
		items = append(items, *new(I))
		d.readItem(l, &items[len(items)-1], entry)
		if d.check != nil && len(l.problems) == before {
			d.check(l, entry.where(), items)
		}
	}
	return items, true
}

func (d list[I]) readItem(l *loader, into *I, v value) {
	if d.short == "" || !v.plain() {
		d.table.read(l, into, v)
		return
	}
	for _, f := range d.table {
		if f.key == d.short {
			f.read(l, into, v)
		}
	}
}

func (d list[I]) write(key string, items []I) []string {
	if len(items) == 0 {
		return nil
	}
	lines := []string{key + ":"}
	for _, item := range items {
		lead := "  - "
		for _, line := range d.table.write(&item) {
			lines = append(lines, lead+line)
			lead = "    "
		}
	}
	return lines
}

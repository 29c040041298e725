package config

import (
	"fmt"
	"strings"
)

// field is one key of the mapping that holds a T.
type field[T any] struct {
	key     string // of the whole file; a dot is one level of nesting
	list    bool   // of mappings, not a single value
	missing string // the problem of a mapping without the key; empty: it may be left out

	read  func(l *loader, into *T, v value) // sets the key to v, or reports what is wrong with v
	write func(from *T) []string            // lines of YAML that read takes back; none for what is empty
}

// scalar is a field of a single value, kept where at points.
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

// must is f for mappings that have to have its key.
func (f field[T]) must(missing string) field[T] {
	f.missing = missing
	return f
}

// leaf is a key without the groups that it is in.
func leaf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// table is all keys of a mapping that holds a T.
type table[T any] []field[T]

func (t table[T]) keys() []string {
	keys := make([]string, len(t))
	for i, f := range t {
		keys[i] = f.key
	}
	return keys
}

// read fills in what the mapping v has.
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
		return // what is missing may be what that is about, spelled wrongly
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

// list is a list of mappings, each of which holds an I.
type list[I any] struct {
	table table[I]
	none  string // the problem of an empty list; empty: it may be that

	// check reports what is wrong with the last of the items, which stands at
	// that place, by itself and beside those before it. It may complete it. Nil:
	// the table says all.
	check func(l *loader, at place, items []I)
}

// listOf is a field of that list, which get takes from a T and set puts there.
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

// read returns the items of v, nil when there are none; false when v is no list.
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
		d.table.read(l, &items[len(items)-1], entry)
		if d.check != nil && len(l.problems) == before {
			d.check(l, entry.where(), items)
		}
	}
	return items, true
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

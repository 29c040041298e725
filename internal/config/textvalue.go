package config

import (
	"iter"
	"strings"
)

// value is the value of a key in some source. Its methods report a problem when the
// value does not have the requested form.
type value interface {
	where() place

	// single returns the value as text.
	single() (string, bool)

	// plain reports whether the value is a single one, and no mapping or list.
	plain() bool

	// words returns the values of a list of single values; a single value is one.
	words() []value

	// list returns the value as a list of mappings with those keys.
	list(keys []string) ([]value, bool)

	// pairs yields the known keys of the value, a mapping, and their values.
	pairs(known []string) iter.Seq2[string, value]
}

// textValue is the value of a flag or a variable. A mapping is written as in
// match=*:latest,fresh=1m.
type textValue struct {
	*loader
	at   place
	text string
}

func (t textValue) where() place { return t.at }

func (t textValue) single() (string, bool) { return t.text, true }

func (t textValue) plain() bool { return !strings.Contains(t.text, "=") }

func (t textValue) words() []value { return []value{t} }

func (t textValue) list([]string) ([]value, bool) {
	t.problem(t.at, "is a list; write it in the file given by --%s", configFlag)
	return nil, false
}

func (t textValue) pairs(known []string) iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		seen := make(map[string]bool)
		for i, part := range parts(t.text) {
			name, content, ok := strings.Cut(part, "=")
			if !ok {
				// The part is not repeated: it may be half of a secret.
				t.problem(t.at, "part %d is not key=value; write for example %s=VALUE", i+1, dashed(known[0]))
				continue
			}
			if key, ok := t.key(name, known, seen); ok && !yield(key, textValue{t.loader, t.at.child(name), content}) {
				return
			}
		}
	}
}

// key returns the key that name stands for, in the spelling of flags. It returns false
// when it has reported a problem.
func (t textValue) key(name string, known []string, seen map[string]bool) (string, bool) {
	for _, key := range known {
		switch {
		case key != strings.ReplaceAll(name, "-", "_"):
		case seen[key]:
			t.problem(t.at.child(name), "is set twice; keep one")
			return "", false
		default:
			seen[key] = true
			return key, true
		}
	}
	t.problem(t.at, "unknown key %q; %s", name, suggest(name, known, dashed))
	return "", false
}

// parts splits a mapping at its commas, except at those within the {a,b} of a pattern.
func parts(s string) []string {
	var parts []string
	start, depth := 0, 0
	for i := range len(s) {
		switch {
		case s[i] == '{':
			depth++
		case s[i] == '}':
			depth--
		case s[i] == ',' && depth <= 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// dashed returns a key in the spelling of flags.
func dashed(key string) string { return strings.ReplaceAll(key, "_", "-") }

// textList is a textValue that can also be a list of these entries.
type textList struct {
	textValue
	entries []string
}

func (t textList) list([]string) ([]value, bool) { return t.words(), true }

func (t textList) words() []value {
	values := make([]value, len(t.entries))
	for i, entry := range t.entries {
		values[i] = textValue{t.loader, t.at.index(i), entry}
	}
	return values
}

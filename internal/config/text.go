package config

import (
	"iter"
	"strings"
)

// value is what a source has for a key. Its methods report what is not as they
// are asked for it.
type value interface {
	where() place

	// single is the value as text.
	single() (string, bool)

	// list is the value as a list of mappings with those keys.
	list(keys []string) ([]value, bool)

	// pairs is the value as a mapping, with what it has for the known keys.
	pairs(known []string) iter.Seq2[string, value]
}

// text is a value as a flag or a variable has it. A mapping is written such as
// match=*:latest,fresh=1m.
type text struct {
	*loader
	at   place
	text string
}

func (t text) where() place { return t.at }

func (t text) single() (string, bool) { return t.text, true }

func (t text) list([]string) ([]value, bool) {
	t.problem(t.at, "is a list; write it in the file given by --%s", configFlag)
	return nil, false
}

func (t text) pairs(known []string) iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		seen := make(map[string]bool)
		for i, part := range parts(t.text) {
			name, content, ok := strings.Cut(part, "=")
			if !ok {
				// The part is not repeated: it may be half of a secret.
				t.problem(t.at, "part %d is not key=value; write for example %s=VALUE", i+1, dashed(known[0]))
				continue
			}
			if key, ok := t.key(name, known, seen); ok && !yield(key, text{t.loader, t.at.child(name), content}) {
				return
			}
		}
	}
}

// key returns the key that name spells as flags do, unless it must be reported.
func (t text) key(name string, known []string, seen map[string]bool) (string, bool) {
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

// parts splits a mapping at its commas, but not those in the {a,b} of a pattern.
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

// dashed spells a key as flags do.
func dashed(key string) string { return strings.ReplaceAll(key, "_", "-") }

// texts is a text that may also be a list, of these entries.
type texts struct {
	text
	entries []string
}

func (t texts) list([]string) ([]value, bool) {
	values := make([]value, len(t.entries))
	for i, entry := range t.entries {
		values[i] = text{t.loader, t.at.index(i), entry}
	}
	return values, true
}

package config

import (
	"fmt"
	"strings"
)

// suggest returns the advice for an unknown word: the nearest known word or, if none
// is near, all of them. spell returns how to write a known word.
func suggest(word string, known []string, spell func(string) string) string {
	if near, ok := nearest(word, known); ok {
		return fmt.Sprintf("did you mean %q?", spell(near))
	}
	all := make([]string, len(known))
	for i, k := range known {
		all[i] = spell(k)
	}
	return "expected one of: " + strings.Join(all, ", ")
}

// nearest returns the known word with the smallest edit distance to word, if at most
// a third of the letters of word must change. A word that only omits letters, such as
// cache_size for cache_max_size, counts as one change.
func nearest(word string, known []string) (string, bool) {
	word = strings.ToLower(word)
	best, least := "", (len(word)+2)/3+1
	for _, k := range known {
		lower := strings.ToLower(k)
		d := distance(word, lower)
		if shortens(word, lower) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	return best, best != ""
}

// shortens reports whether word is long with letters omitted after the first, and has
// at least three letters.
func shortens(word, long string) bool {
	if len(word) < 3 || word[0] != long[0] {
		return false
	}
	rest := word
	for i := range len(long) {
		if rest != "" && rest[0] == long[i] {
			rest = rest[1:]
		}
	}
	return rest == ""
}

// distance returns the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// suggestKey is suggest for an unknown key of the mapping at that place. It also finds
// a known key that is at the wrong level of nesting.
func suggestKey(at place, key string, known []string) string {
	full := at.child(key).name
	if group, leaf, ok := strings.Cut(full, "."); ok && strings.Contains(key, ".") && settingByKey(full) != nil {
		return fmt.Sprintf("write %s inside the mapping %s", leaf, group)
	}
	for _, s := range settings {
		if strings.HasSuffix(s.key, "."+key) {
			return fmt.Sprintf("did you mean %q?", s.key)
		}
	}
	return suggest(key, known, func(k string) string { return at.child(k).name })
}

package config

import (
	"fmt"
	"strings"
)

// suggest ends the problem of an unknown word: with the known word nearest to
// it, else with all of them. spell turns a known word into what to write.
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

// nearest returns the known word with the least edit distance to word, if a
// third of word's letters or fewer must change. What only leaves letters out,
// such as cache_size for cache_max_size, counts as one change.
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

// shortens reports whether word is long with letters left out after the first,
// and still three letters or more.
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

// distance is how many bytes must be inserted, removed or replaced to turn a
// into b (Levenshtein).
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

// suggestKey is suggest for the unknown key of the mapping at that place. It
// also finds a known key that was written at the wrong depth.
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

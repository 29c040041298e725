package access

import (
	"iter"
	"strings"
)

// numberedLines yields the lines of a file, from 1, without those that are empty or
// comments.
func numberedLines(raw []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number := 0
		for line := range strings.Lines(string(raw)) {
			number++
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' && !yield(number, line) {
				return
			}
		}
	}
}

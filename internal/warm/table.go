package warm

import (
	"slices"
	"strings"
)

// rowOf returns the image of a row's words; false when it has no tag.
type rowOf func(words []string) (string, bool)

// findTable returns the line of the header of docker image ls or its relatives, and how
// rows are read; nil when there is none near the beginning.
func findTable(lines []string) (header int, kind rowOf) {
	const before = 4 // lines, of which Docker 29 has one with a legend
	for i, line := range lines[:min(before, len(lines))] {
		words := strings.Fields(line)
		switch {
		case len(words) < 3:
		case slices.Contains([]string{"REPOSITORY", "IMAGE"}, words[0]) && words[1] == "TAG": // Docker, podman, nerdctl, crictl
			return i, func(words []string) (string, bool) {
				return words[0] + ":" + words[1], words[0] != "<none>" && words[1] != "<none>"
			}
		case words[0] == "IMAGE" && words[1] == "ID": // Docker since 29
			return i, func(words []string) (string, bool) {
				return words[0], !strings.Contains(words[0], "<") && strings.Contains(words[0], ":")
			}
		}
	}
	return 0, nil
}

// readTable reads the rows below the header. Those of a tree, which begin with a line, are
// platforms of the image above.
func (r *reader) readTable(lines []string, header int, kind rowOf) {
	for i, line := range lines {
		words := strings.Fields(line)
		if i <= header || len(words) < 2 || strings.ContainsAny(words[0], "├└│─") {
			continue
		}
		if image, tagged := kind(words); tagged {
			r.add(i+1, Image{Name: image})
		} else {
			r.skip(i+1, "%.80s has no tag", words[0])
		}
	}
}

// Package warm fetches images into the cache before clients want them: it reads lists of
// images in the forms that people have them in, says what fetching them would cost, and
// fetches what is missing, after what clients want and within the quota.
package warm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a list, far above what people write.
const (
	maxListBytes = 1 << 20
	maxImages    = 10_000
	maxNameBytes = 512
)

// Image is an entry of a list: one image, or those tags of a repository that Tags or
// Versions selects.
type Image struct {
	Name     string `json:"name"`               // as clients write it, such as alpine:3; without a tag if it selects several
	Tags     string `json:"tags,omitempty"`     // a regular expression: each tag that it matches
	Versions string `json:"versions,omitempty"` // a range of semantic versions, such as ">= 1.2, < 2": each tag that is one of them
}

// Skipped is something in a list that names no image to fetch.
type Skipped struct {
	Where string `json:"where"` // file:line
	Why   string `json:"why"`
}

// List is what a file names. Each Image is in it once.
type List struct {
	Images  []Image
	Skipped []Skipped
}

// ParseList reads a list of the name, for errors. It may be a YAML file of skopeo sync, a
// compose file, manifests of Kubernetes, the output of docker image ls, or one image a
// line, with comments after #. env looks up the variables of a compose file. It fails
// with the line of what is wrong, and when nothing is an image.
func ParseList(name string, text []byte, env func(string) (string, bool)) (List, error) {
	r := &reader{name: name, env: env, seen: make(map[Image]bool)}
	if len(text) > maxListBytes {
		return List{}, fmt.Errorf("%s has more than %d bytes; split it", name, maxListBytes)
	}
	if !utf8.Valid(text) {
		return List{}, fmt.Errorf("%s is not UTF-8 text", name)
	}
	lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
	var err error
	if header, kind := findTable(lines); kind != nil {
		r.readTable(lines, header, kind)
	} else if isPlain(lines) {
		r.readLines(lines)
	} else {
		err = r.readYAML(lines)
	}
	if err == nil && len(r.list.Images) == 0 && len(r.list.Skipped) == 0 {
		err = fmt.Errorf("%s names no image; write one a line, such as alpine:3", name)
	}
	return r.list, errors.Join(err, r.err)
}

// ReadList is ParseList of what can be read from r, with the variables of this process.
func ReadList(name string, r io.Reader) (List, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxListBytes+1))
	if err != nil {
		return List{}, fmt.Errorf("read %s: %w", name, err)
	}
	return ParseList(name, text, os.LookupEnv)
}

// reader collects a List.
type reader struct {
	name string
	env  func(string) (string, bool)
	list List
	seen map[Image]bool
	err  error // the first that is wrong with an image

	before int // lines before the YAML document that is being read
}

// add adds an image that was found on a line.
func (r *reader) add(line int, image Image) {
	switch {
	case r.seen[image] || r.err != nil:
		return
	case len(r.list.Images) == maxImages:
		r.err = fmt.Errorf("%s:%d: more than %d images; split the list", r.name, line, maxImages)
		return
	case !isName(image.Name):
		r.err = fmt.Errorf("%s:%d: %.80q is not the name of an image; write for example alpine:3 or ghcr.io/org/app:v1", r.name, line, image.Name)
		return
	}
	r.seen[image] = true
	r.list.Images = append(r.list.Images, image)
}

func (r *reader) skip(line int, format string, args ...any) {
	if len(r.list.Skipped) < maxImages {
		r.list.Skipped = append(r.list.Skipped, Skipped{fmt.Sprintf("%s:%d", r.name, line), fmt.Sprintf(format, args...)})
	}
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@[]"

// isName reports whether s looks like the name of an image. Whether it is one is found
// out by those who know the upstreams.
func isName(s string) bool {
	return s != "" && len(s) <= maxNameBytes && strings.Trim(s, nameBytes) == "" && strings.ContainsAny(s[:1], nameBytes[:62])
}

// isPlain reports whether the lines are one word each.
func isPlain(lines []string) bool {
	return !slices.ContainsFunc(lines, func(line string) bool {
		word := strings.Fields(withoutComment(line))
		return len(word) > 1 || len(word) == 1 && (strings.HasSuffix(word[0], ":") || strings.HasPrefix(word[0], "---") || strings.HasPrefix(word[0], "{"))
	})
}

func (r *reader) readLines(lines []string) {
	for i, line := range lines {
		if name := strings.TrimSpace(withoutComment(line)); name != "" {
			r.add(i+1, Image{Name: name})
		}
	}
}

func withoutComment(line string) string {
	text, _, _ := strings.Cut(line, "#") // which is in no name
	return text
}

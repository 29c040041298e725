package doccheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages returns the documents for people, by path from the root.
func pages(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"README.md", "CONTRIBUTING.md"}
	for _, page := range docs {
		all = append(all, filepath.Join("docs", filepath.Base(page)))
	}
	return all
}

// The README is for a person with ten minutes.
func TestReadmeIsShort(t *testing.T) {
	if n := len(readFile(t, "README.md")); n > 10_000 {
		t.Errorf("README.md has %d bytes; move detail to docs/", n)
	}
}

var (
	heading = regexp.MustCompile(`(?m)^#{1,4} (.+)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	noise   = regexp.MustCompile(`[^\w\- ]`)
)

// anchors returns the anchors of a page as GitHub makes them of its headings.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(noise.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

// Every relative link leads to a file, and to a heading in it.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(readFile(t, page), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if anchor != "" && !anchors(readFile(t, path))[anchor] {
				t.Errorf("%s links to %s: there is no such heading", page, m[1])
			}
		}
	}
}

// longPage is how many lines two screens have.
const longPage = 100

// A long page begins with a list of its contents.
func TestContents(t *testing.T) {
	for _, page := range pages(t) {
		text := readFile(t, page)
		if page == "README.md" || page == filepath.Join("docs", "CHANGELOG.md") {
			continue
		}
		if strings.Count(text, "\n") <= longPage && !strings.Contains(text, "<!-- contents -->") {
			continue
		}
		contents := section(t, page, "contents")
		for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(contents, "- ["+m[1]+"](#") {
				t.Errorf("the contents of %s lack %q", page, m[1])
			}
		}
	}
}

// make help knows every target that a person may want.
func TestMakeTargetsHaveHelp(t *testing.T) {
	text := readFile(t, "Makefile")
	for _, m := range regexp.MustCompile(`(?m)^\.PHONY: (\w+)$`).FindAllStringSubmatch(text, -1) {
		if m[1] != "cc" && !regexp.MustCompile(`(?m)^`+m[1]+`:.*## \S`).MatchString(text) {
			t.Errorf("make help does not show %s", m[1])
		}
	}
}

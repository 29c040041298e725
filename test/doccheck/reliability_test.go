package doccheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	heldRE = regexp.MustCompile("((?:`Test\\w+`(?:, )?)+) in ([\\w/]+)")
	testRE = regexp.MustCompile(`Test\w+`)
)

// Each promise, each input and each requirement of a spec names tests, and each of them is there.
func TestPromises(t *testing.T) {
	checkHeld(t, "docs/reliability.md", "promises")
	checkHeld(t, "docs/security.md", "inputs")
	for _, name := range []string{"conformance-requests", "conformance-pull", "conformance-discovery"} {
		checkHeld(t, "docs/conformance.md", name)
	}
}

// checkHeld checks that the last column of each row of a table names tests that are
// there. A row in bold is a heading.
func checkHeld(t *testing.T, document, name string) {
	t.Helper()
	rows := 0
	for line := range strings.Lines(section(t, document, name)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.HasPrefix(cells[1], "--") || strings.HasPrefix(trim(cells[1]), "**") {
			continue
		}
		if rows++; rows == 1 { // the names of the columns
			continue
		}
		held := heldRE.FindAllStringSubmatch(cells[len(cells)-2], -1)
		if len(held) == 0 {
			t.Errorf("nothing holds: %s", trim(cells[1]))
		}
		for _, tests := range held {
			for _, name := range testRE.FindAllString(tests[1], -1) {
				if !strings.Contains(testsOf(t, tests[2]), "\nfunc "+name+"(t *testing.T) {") {
					t.Errorf("there is no %s in %s", name, tests[2])
				}
			}
		}
	}
	if rows < 2 {
		t.Errorf("%s: the table of %s has no rows", document, name)
	}
}

// testsOf is the text of a package's tests.
func testsOf(t *testing.T, pkg string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(raw)
	}
	return text.String()
}

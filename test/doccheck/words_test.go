package doccheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// dialect is wording that nobody searches for, with what to write instead.
var dialect = []struct{ words, instead string }{
	{`under way`, "in flight, in progress"},
	{`kept`, "cached"},
	{`who waits`, "waiters"},
	{`gone on with`, "resumed"},
	{`is no JSON`, "invalid JSON"},
	{`the copy of before`, "the previous copy, a stale copy"},
	{`holds the directory against`, "reconciles the directory with"},
	{`in vain`, "without effect"},
	{`set aside`, "quarantined, disabled"},
	{`anew`, "again"},
	{`is borne`, "is tolerated"},
}

// A phrase is found across a line break and in any case.
var dialectRE = func() []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, d := range dialect {
		all = append(all, regexp.MustCompile(`(?i)\b`+strings.ReplaceAll(d.words, " ", `\s+`)+`\b`))
	}
	return all
}()

func checkWords(t *testing.T, where, text string) {
	t.Helper()
	for i, re := range dialectRE {
		for _, at := range re.FindAllStringIndex(text, -1) {
			begin, end := max(at[0]-30, 0), min(at[1]+30, len(text))
			t.Errorf("%s: …%q…: write %s", where, text[begin:end], dialect[i].instead)
		}
	}
}

var code = regexp.MustCompile("`[^`]*`")

// Documents, the unit and the dashboard use the words of the field.
func TestPlainDocuments(t *testing.T) {
	paths := pages(t)
	for _, dir := range []string{"deploy", "dashboards"} {
		paths = append(paths, filesBelow(t, dir, func(string) bool { return true })...)
	}
	for _, path := range paths {
		text := readFile(t, path)
		if path == filepath.Join("docs", "CHANGELOG.md") {
			text = code.ReplaceAllString(text, "") // it quotes what was said before
		}
		checkWords(t, path, text)
	}
}

// helpers serve tests only: only developers see their messages.
var helpers = []string{"internal/hubsim", "internal/oci/ocitest", "internal/cache/storetest"}

// Logs, errors and help use the words of the field.
func TestPlainMessages(t *testing.T) {
	var files []string
	for _, dir := range []string{"cmd", "internal"} {
		files = append(files, filesBelow(t, dir, func(path string) bool {
			return strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !withinAny(filepath.ToSlash(path), helpers)
		})...)
	}
	if len(files) < 100 {
		t.Fatalf("only %d files to check", len(files))
	}
	for _, path := range files {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, readFile(t, path), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				checkWords(t, set.Position(literal.Pos()).String(), text)
			}
			return true
		})
	}
}

// filesBelow returns the files in dir that are wanted, by path from the root.
func filesBelow(t *testing.T, dir string, wanted func(path string) bool) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		path, err = filepath.Rel(root, path)
		if err == nil && wanted(path) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no files in %s", dir)
	}
	return paths
}

// The expressions find what they are for, and leave other words alone.
func TestDialect(t *testing.T) {
	for text, want := range map[string]int{
		"downloads Under\nway":             1,
		"what is kept, and set aside":      2,
		"the index is begun anew":          1,
		"it keeps a newer copy, backed up": 0,
		"Vanewick skept":                   0,
	} {
		n := 0
		for _, re := range dialectRE {
			n += len(re.FindAllString(text, -1))
		}
		if n != want {
			t.Errorf("%q: %d found, want %d", text, n, want)
		}
	}
}

package doccheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The page shows the file of the packages, which logrotate understands, and which is of the
// file that the page says to write.
func TestLogrotate(t *testing.T) {
	file, page := readFile(t, "deploy", "logrotate", "mirrord"), readFile(t, "docs", "operations.md")
	if shown := "    " + strings.ReplaceAll(strings.TrimSuffix(file, "\n"), "\n", "\n    ") + "\n"; !strings.Contains(page, shown) {
		t.Errorf("docs/operations.md does not show deploy/logrotate/mirrord:\n%s", shown)
	}
	path, _, _ := strings.Cut(file, " ")
	if !strings.Contains(page, "write `"+path+"`") {
		t.Errorf("docs/operations.md does not say to write %s", path)
	}
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		t.Skip("there is no logrotate here to read the file with")
	}
	installed := filepath.Join(t.TempDir(), "mirrord") // with the mode that it has in packages
	if err := os.WriteFile(installed, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(logrotate, "--debug", "--state", installed+".state", installed).CombinedOutput()
	if err != nil || strings.Contains(string(out), "error:") {
		t.Errorf("logrotate: %v\n%s", err, out)
	}
}

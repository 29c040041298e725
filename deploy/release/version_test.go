package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/semver"
)

// repository is a checkout with the script that says its version.
type repository struct{ dir string }

func (r repository) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = r.dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org",
		"GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org", "GIT_CEILING_DIRECTORIES="+filepath.Dir(r.dir))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// version returns what the script prints, without the commit.
func (r repository) version(t *testing.T) string {
	t.Helper()
	version := r.run(t, "sh", "deploy/version.sh")
	if !semver.IsValid(version) {
		t.Errorf("%s is not a version", version)
	}
	before, build, _ := strings.Cut(version, "+g")
	if _, dirty, ok := strings.Cut(build, "."); ok {
		return before + "+" + dirty
	}
	return before
}

// The versions of a history are in its order.
func TestVersionOfCheckout(t *testing.T) {
	r := repository{t.TempDir()}
	script := filepath.Join(r.dir, "deploy", "version.sh")
	if err := os.MkdirAll(filepath.Dir(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, read(t, filepath.Join("..", "version.sh")), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := r.version(t); got != "v0.0.0-unknown" {
		t.Errorf("without git it is %s", got)
	}
	r.run(t, "git", "init", "-q")
	r.run(t, "git", "add", ".")
	last := ""
	for _, step := range []struct{ tag, want string }{
		{"", "v0.0.0-dev.1"},
		{"v0.1.0-rc.1", "v0.1.0-rc.1"},
		{"", "v0.1.0-rc.1.dev.1"},
		{"v0.1.0-rc.2", "v0.1.0-rc.2"},
		{"v0.1.0", "v0.1.0"},
		{"", "v0.1.1-dev.1"},
		{"", "v0.1.1-dev.2"},
	} {
		r.run(t, "git", "commit", "-q", "--allow-empty", "-m", "step")
		if step.tag != "" {
			r.run(t, "git", "tag", step.tag)
		}
		got := r.version(t)
		if got != step.want || last != "" && semver.Compare(last, got) >= 0 {
			t.Errorf("after %q it is %s, want %s", last, got, step.want)
		}
		last = got
	}
	if err := os.WriteFile(script, append(read(t, script), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := r.version(t); got != "v0.1.1-dev.2+dirty" {
		t.Errorf("with changes it is %s", got)
	}
}

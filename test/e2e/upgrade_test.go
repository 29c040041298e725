//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"mirrord/internal/hubsim"
)

// firstRelease is what counts as the previous release before there is a tag: the last
// commit before private content was guarded.
const firstRelease = "b6e4110"

// previousRelease builds the daemon of the last tag, which is not that of HEAD.
func previousRelease(t *testing.T) string {
	t.Helper()
	commit := firstRelease
	if out, err := exec.Command("git", "describe", "--tags", "--abbrev=0", "HEAD^").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
		t.Skipf("this clone has no history, and not %s in particular", commit)
	}
	h := newHome(t)
	t.Logf("the previous release is %s", commit)
	source := h.path("source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	archive := exec.Command("sh", "-c", "cd \"$(git rev-parse --show-toplevel)\" && git archive "+commit+" | tar -x -C "+source)
	if out, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	build := exec.Command("go", "build", "-o", h.path("mirrord"), "./cmd/mirrord")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	return h.path("mirrord")
}

// TestUpgrade runs the previous release, this one, and the previous one again on the same
// cache: what one has fetched, the next one serves, without the upstream.
func TestUpgrade(t *testing.T) {
	previous := previousRelease(t)
	hub := startHub(t)
	m := startMirrorOf(t, hub, previous)
	c := newSkopeo(t, debian12, m.address)
	images := publishAll(t, hub)
	first := images[:1]
	pullAll(t, c, first)

	m.replace(t, program)
	pullAll(t, c, images) // the second one is new
	hub.Down()
	pullAll(t, c, images)

	m.replace(t, previous)
	pullAll(t, c, images)
	if out, err := m.home.run(program, "verify", "--admin-listen", m.admin); err != nil || !strings.Contains(out, "intact ") {
		t.Errorf("the new command asks the previous daemon: %v\n%s", err, out)
	}
	m.process.end(t)
	if out, err := m.home.run(program, "verify", "--cache-dir", m.home.path("cache")); err != nil || !strings.Contains(out, "intact ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// startMirrorOf is startMirror with another daemon.
func startMirrorOf(t *testing.T, hub *hubsim.Hub, daemon string) *mirror {
	t.Helper()
	m := &mirror{
		home: newHome(t), address: freeAddress(t), admin: freeAddress(t), program: daemon,
		settings: []string{"--tags-fresh", tagsFresh.String(), "--upstream", "name=docker.io,url=" + hub.URL()},
	}
	m.start(t)
	return m
}

// replace ends the daemon and starts another one on its cache.
func (m *mirror) replace(t *testing.T, daemon string) {
	t.Helper()
	m.process.end(t)
	m.program = daemon
	m.start(t)
}

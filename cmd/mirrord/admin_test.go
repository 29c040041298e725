package main

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// verify runs the command against a mirror.
func (p *process) verify(flags ...string) (string, error) {
	command := exec.Command("mirrord", append([]string{"verify"}, flags...)...)
	command.Env = append(os.Environ(), "HOME="+p.home, "GORACE=atexit_sleep_ms=0")
	out, err := command.CombinedOutput()
	return string(out), err
}

// A mirror without a token in its configuration makes one, which its command finds and
// nobody else may read, and needs it for what has an effect.
func TestAdminToken(t *testing.T) {
	m := newMirror(t)
	check(t, m.serve())
	raw, err := os.ReadFile(filepath.Join(m.cache, "admin-token"))
	check(t, err)
	token := strings.TrimSpace(string(raw))
	for _, test := range []struct {
		method, path, token string
		want                int
	}{
		{http.MethodGet, "/quota", "", http.StatusOK},
		{http.MethodPost, "/verify", "", http.StatusUnauthorized},
		{http.MethodPost, "/verify", token + "x", http.StatusUnauthorized},
		{http.MethodPost, "/verify", token, http.StatusOK},
		{http.MethodGet, "/debug/pprof/cmdline", "", http.StatusUnauthorized},
		{http.MethodGet, "/debug/pprof/cmdline", token, http.StatusOK},
	} {
		if status, text, err := m.askAs(test.method, test.path, test.token); status != test.want || err != nil {
			t.Errorf("%s %s with %q: %d %s, %v; want %d", test.method, test.path, test.token, status, text, err, test.want)
		}
	}
	if out, err := m.verify("--admin-listen", m.admin); err != nil || !strings.Contains(out, "which the mirror at "+m.admin+" uses") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	check(t, m.end(terminate))
	if strings.Contains(m.text(), token) {
		t.Errorf("the log has the token:\n%s", m.text())
	}
}

// With a token in the configuration the command needs the same file.
func TestAdminTokenFile(t *testing.T) {
	m := newMirror(t)
	file := filepath.Join(m.home, "token")
	check(t, os.WriteFile(file, []byte("correct-horse-battery\n"), 0o600))
	check(t, m.serve("--admin-token-file", file))
	if out, err := m.verify("--admin-listen", m.admin); err == nil || !strings.Contains(out, "401 Unauthorized") {
		t.Errorf("verify without it: %v\n%s", err, out)
	}
	if out, err := m.verify("--admin-listen", m.admin, "--admin-token-file", file); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(m.cache, "admin-token")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mirror has made a token, too: %v", err)
	}
}

// The socket needs no token, and the listener for metrics has nothing else.
func TestAdminSocket(t *testing.T) {
	m := newMirror(t)
	socket := filepath.Join(m.home, "admin.sock")
	flags := []string{"--admin-listen", "unix:" + socket, "--metrics-listen", m.admin}
	check(t, m.serve(flags...))
	m.kill()
	check(t, m.serve(flags...))
	for path, want := range map[string]int{"/metrics": http.StatusOK, "/quota": http.StatusNotFound, "/debug/pprof/": http.StatusNotFound} {
		if status, text, err := m.ask(path); status != want || err != nil {
			t.Errorf("%s: %d %s, %v; want %d", path, status, text, err, want)
		}
	}
	if out, err := m.verify("--admin-listen", "unix:"+socket); err != nil || !strings.Contains(out, "which the mirror at unix:"+socket+" uses") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	check(t, m.end(terminate))
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
}

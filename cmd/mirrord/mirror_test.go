package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"mirrord/internal/config"
)

// command runs a command of mirrord with these variables and no others but PATH.
func command(args []string, env ...string) (string, error) {
	c := exec.Command("mirrord", args...)
	c.Env = append(env, "PATH="+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0")
	out, err := c.CombinedOutput()
	return string(out), err
}

// A command asks the mirror of its own user or unit, also where both run.
func TestFindMirror(t *testing.T) {
	unit, own := newMirror(t), newMirror(t)
	run := filepath.Join(unit.home, "run")
	check(t, os.Mkdir(run, 0o700))
	unit.env = []string{"RUNTIME_DIRECTORY=" + run}
	own.cache = filepath.Join(own.home, ".cache", "mirrord")
	for _, m := range []*process{unit, own} {
		check(t, m.serve())
	}
	file := filepath.Join(unit.home, "mirrord.yaml")
	check(t, os.WriteFile(file, []byte("cache: {dir: "+unit.cache+"}\nadmin: {socket: "+filepath.Join(run, socketName)+"}\n"), 0o600))
	other := filepath.Join(unit.home, "other.yaml")
	check(t, os.WriteFile(other, []byte("cache: {dir: "+unit.home+"}\n"), 0o600))
	home := "HOME=" + own.home
	for name, test := range map[string]struct {
		args []string
		env  []string
		want *process // nil: none
	}{
		"own":              {nil, []string{home}, own},
		"of the unit":      {nil, []string{home, "RUNTIME_DIRECTORY=" + run}, unit},
		"by address":       {[]string{"--admin-listen", unit.admin}, []string{home}, unit},
		"by variable":      {nil, []string{home, "MIRRORD_ADMIN_SOCKET=" + filepath.Join(run, socketName)}, unit},
		"by file":          {[]string{"--config", file}, []string{home}, unit},
		"another's file":   {[]string{"--config", other}, []string{home}, nil},
		"another user's":   {nil, []string{"HOME=" + t.TempDir(), "MIRRORD_ADMIN_SOCKET=off", "MIRRORD_ADMIN_LISTEN=127.0.0.1:1"}, nil},
		"the socket's own": {[]string{"--admin-socket", filepath.Join(own.cache, socketName)}, []string{"HOME=/"}, own},
	} {
		out, err := command(append([]string{"verify"}, test.args...), test.env...)
		if _, ready := command(append([]string{"ready"}, test.args...), test.env...); (ready == nil) != (test.want != nil) {
			t.Errorf("%s: ready: %v", name, ready)
		}
		if test.want == nil {
			if err == nil {
				t.Errorf("%s: one is verified\n%s", name, out)
			}
		} else if err != nil || !strings.Contains(out, "verifying "+test.want.cache+", which the mirror at") {
			t.Errorf("%s: %v\n%s, want %s", name, err, out, test.want.cache)
		}
	}
}

// The socket is for the mirror's user and group. That of a dead process is replaced.
func TestDefaultSocket(t *testing.T) {
	m := newMirror(t)
	check(t, m.serve())
	path := filepath.Join(m.cache, socketName)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != withGroup {
		t.Fatalf("%v, %v", info, err)
	}
	m.kill()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("a killed mirror has removed its socket: %v", err)
	}
	check(t, m.serve())
	if out, err := m.verify("--admin-socket", path); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	check(t, m.end(terminate))
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket after the end: %v", err)
	}
	check(t, m.serve("--admin-socket", "off"))
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a socket that is off: %v", err)
	}
}

// A mirror does without a default socket that cannot be made, and not without one that is
// configured or in use.
func TestSocketThatCannotBeMade(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", config.MaxSocketPath))
	check(t, os.Mkdir(long, 0o700))
	taken := filepath.Join(t.TempDir(), "taken")
	check(t, os.Mkdir(taken, 0o700))
	l, err := net.Listen("unix", filepath.Join(taken, socketName))
	check(t, err)
	defer func() { _ = l.Close() }()
	for dir, fails := range map[string]bool{"/proc/nowhere": false, long: false, taken: true} {
		cfg := new(config.Config)
		cfg.Cache.Dir = dir
		l, err := listenOnSocket(nil, cfg, zap.NewNop())
		if l != nil || (err != nil) != fails {
			t.Errorf("default in %s: %v, %v", dir, l, err)
		}
		cfg.Admin.Socket = filepath.Join(dir, socketName)
		if l, err := listenOnSocket(nil, cfg, zap.NewNop()); l != nil || err == nil {
			t.Errorf("configured in %s: %v, %v", dir, l, err)
		}
	}
}

// Who has named no address is told of all that were tried.
func TestAlsoTried(t *testing.T) {
	cfg := new(config.Config)
	cfg.Cache.Dir, cfg.Admin.Listen = "/nowhere", "127.0.0.1:1"
	if _, err := locate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "at 127.0.0.1:1") || !strings.Contains(err.Error(), "sockets /nowhere/admin.sock and /run/mirrord/admin.sock") {
		t.Error(err)
	}
	cfg.Admin.ListenSet = true
	if _, err := locate(t.Context(), cfg); err == nil || strings.Contains(err.Error(), "sockets") {
		t.Error(err)
	}
}

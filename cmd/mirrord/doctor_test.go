package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mirrord/internal/config"
	"mirrord/internal/doctor"
)

// checkedMirror returns a configuration whose admin.socket is that of a mirror with the cache
// directory /cache, which is being checked for somebody else.
func checkedMirror(t *testing.T) *config.Config {
	t.Helper()
	cfg := new(config.Config)
	cfg.Admin.Socket = filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", cfg.Admin.Socket)
	check(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "/cache") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ready") })
	mux.HandleFunc("POST /v1/doctor", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error": "the mirror is being checked already"}`, http.StatusConflict)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return cfg
}

// While a mirror is being checked for somebody else, nothing is checked once more by the
// command, which would send each login again, and the command does not succeed.
func TestDoctorIsBusy(t *testing.T) {
	cfg := checkedMirror(t)
	var all []doctor.Check
	if _, ok := examineThere(t.Context(), cfg, func(c doctor.Check) { all = append(all, c) }); !ok {
		t.Error("the command would check everything itself")
	}
	if len(all) != 2 || all[1].State != doctor.Fail || !strings.Contains(all[1].Detail, "being checked already") {
		t.Errorf("%+v", all)
	}
}

// A mirror with another cache directory is not the one that was asked about: its checks
// would say nothing of that.
func TestDoctorOfAnotherMirror(t *testing.T) {
	cfg := checkedMirror(t)
	cfg.Cache.Dir, cfg.Cache.DirSet = t.TempDir(), true
	var all []doctor.Check
	if _, ok := examineThere(t.Context(), cfg, func(c doctor.Check) { all = append(all, c) }); ok {
		t.Error("the other mirror was checked")
	}
	if len(all) != 1 || all[0].State != doctor.Warn || !strings.Contains(all[0].Detail, cfg.Cache.Dir) || !strings.Contains(all[0].Detail, "/cache,") {
		t.Errorf("%+v", all)
	}
}

// Without a named file that of the service is checked, also while the service is down.
func TestDoctorOfTheService(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", "")
	u := unit{configuration: t.TempDir(), cache: "/var/cache/mirrord"}
	file := filepath.Join(u.configuration, "mirrord.yaml")
	load := func(args ...string) (*config.Config, doctor.Check) {
		c := newDoctorCommand()
		c.SetContext(t.Context())
		check(t, c.ParseFlags(args))
		cfg, path, isUnits, err := u.load(c, []string{"HOME=" + home})
		return cfg, configuration(path, isUnits, err)
	}
	if cfg, c := load(); c.State != doctor.OK || !strings.Contains(c.Detail, "no file") || cfg.Cache.Dir != filepath.Join(home, ".cache", "mirrord") {
		t.Errorf("without a file: %+v, %+v", c, cfg)
	}
	check(t, os.WriteFile(file, []byte("listen: :1\n"), 0o600))
	if cfg, c := load(); c.State != doctor.OK || !strings.Contains(c.Detail, file+", which the service reads") || cfg.Listen != ":1" || cfg.Cache.Dir != u.cache {
		t.Errorf("with a file: %+v, %+v", c, cfg)
	}
	check(t, os.WriteFile(file, []byte("colour: red\n"), 0o600))
	if _, c := load(); c.State != doctor.Fail || !strings.Contains(c.Detail, "colour") || !strings.Contains(c.Hint, "--config") {
		t.Errorf("with a wrong file: %+v", c)
	}
	other := filepath.Join(home, "other.yaml")
	check(t, os.WriteFile(other, []byte("listen: :2\n"), 0o600))
	if cfg, c := load("--config", other); c.State != doctor.OK || c.Detail != "valid: "+other || cfg.Listen != ":2" {
		t.Errorf("with --config: %+v, %+v", c, cfg)
	}
	own := filepath.Join(home, ".cache", "mirrord")
	check(t, os.MkdirAll(own, 0o700))
	check(t, os.Symlink(checkedMirror(t).Admin.Socket, filepath.Join(own, socketName)))
	if cfg, c := load(); c.State != doctor.OK || cfg.Cache.Dir != own {
		t.Errorf("with a mirror of this user: %+v, %+v", c, cfg)
	}
}

// A file that this user may not read is nothing to correct.
func TestDoctorMayNotRead(t *testing.T) {
	if hint := hintConfiguration(true, true); !strings.Contains(hint, "as root") || strings.Contains(hint, "correct") {
		t.Error(hint)
	}
	file := filepath.Join(t.TempDir(), "mirrord.yaml")
	check(t, os.WriteFile(file, nil, 0))
	if isRoot := os.Geteuid() == 0; mayNotRead(file) == isRoot || mayNotRead(file+"/none") {
		t.Errorf("root %t, may not read: %t", isRoot, mayNotRead(file))
	}
}

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/config"
)

// pass opens a socket as systemd does, which stays open until the test ends.
func (p *process) pass(t *testing.T, network, address string) {
	t.Helper()
	l, err := net.Listen(network, address)
	check(t, err)
	f, err := l.(interface{ File() (*os.File, error) }).File()
	check(t, err)
	t.Cleanup(func() { _ = errors.Join(f.Close(), l.Close()) })
	p.sockets = append(p.sockets, f)
}

// activated returns a command that gets the sockets. A shell says what the number of the
// process is.
func (p *process) activated(binary string, args []string) *exec.Cmd {
	c := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=` + strconv.Itoa(len(p.sockets)) + ` exec "$@"`, "sh", binary}, args...)...)
	c.ExtraFiles = p.sockets
	return c
}

// The mirror serves on the sockets that it is passed: with no address of its own on the
// only one that is left, and it does not remove that of a path.
func TestPassedSockets(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/small", 2, 40_000, 1)
	m := newMirror(t)
	path := filepath.Join(t.TempDir(), "admin.sock")
	m.pass(t, "unix", path)
	check(t, os.Chmod(path, 0o600))
	m.pass(t, "tcp", m.mirror)
	metrics, err := freeAddress()
	check(t, err)
	m.pass(t, "tcp", metrics)
	check(t, m.start(c.upstream(), "--admin-listen", "unix:"+path, "--metrics-listen", metrics))
	c.pullAll(t, m)
	for network, address := range map[string]string{"unix": path, "tcp": metrics} {
		conn, err := net.Dial(network, address)
		check(t, err)
		check(t, conn.Close())
	}
	check(t, m.end(terminate))
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the passed socket is gone: %v", err)
	}
}

// Commands find a mirror whose listener came from systemd, and one whose default
// admin.socket did.
func TestFindPassedSocket(t *testing.T) {
	for name, pass := range map[string]func(m *process, path string){
		"listen": func(m *process, _ string) { m.pass(t, "tcp", m.mirror) },
		"admin.socket": func(m *process, path string) {
			m.pass(t, "unix", path)
			check(t, os.Chmod(path, 0o660))
		},
	} {
		m := newMirror(t)
		m.cache = filepath.Join(m.home, ".cache", "mirrord")
		check(t, os.MkdirAll(m.cache, 0o700))
		pass(m, filepath.Join(m.cache, socketName))
		check(t, m.serve())
		for _, verb := range []string{"ready", "quota", "ls"} {
			if out, err := command([]string{verb}, "HOME="+m.home); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, verb, err, out)
			}
		}
		check(t, m.end(terminate))
	}
}

// A socket that nothing would serve is refused, with what to do.
func TestRefusedSockets(t *testing.T) {
	for name, test := range map[string]struct {
		pass func(*testing.T, *process)
		args []string
		want string
	}{
		"another address": {
			func(t *testing.T, m *process) { m.pass(t, "tcp", m.mirror) }, []string{"--listen", "127.0.0.1:9"},
			`set listen to "ADDRESS", add it to listeners, or change ListenStream=`,
		},
		"two for the default": {
			func(t *testing.T, m *process) { m.pass(t, "tcp", m.mirror); m.pass(t, "tcp", "127.0.0.1:0") }, nil,
			"which no listener of the configuration has as its address",
		},
		"not configured path": {
			func(t *testing.T, m *process) {
				path := filepath.Join(t.TempDir(), "s")
				m.pass(t, "unix", path)
				check(t, os.Chmod(path, 0o660))
			}, nil, `set admin.listen to "unix:/`,
		},
		"open to everybody": {
			func(t *testing.T, m *process) {
				path := filepath.Join(t.TempDir(), "s")
				m.pass(t, "unix", path)
				check(t, os.Chmod(path, 0o666))
			}, nil, "set SocketMode=0600",
		},
		"not listening": {
			func(t *testing.T, m *process) {
				f, err := os.Open(os.DevNull)
				check(t, err)
				t.Cleanup(func() { _ = f.Close() })
				m.sockets = append(m.sockets, f)
			}, nil, "the socket unit must have ListenStream= and Accept=no",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror(t)
			test.pass(t, m)
			check(t, m.start(test.args...))
			var exit *exec.ExitError
			err := m.wait(t)
			if !errors.As(err, &exit) || exit.ExitCode() != exitRefused || !strings.Contains(m.text(), strings.ReplaceAll(test.want, "ADDRESS", m.mirror)) {
				t.Errorf("it ended with %v\n%s", err, m.text())
			}
		})
	}
}

// A socket is for the listener with its address, the same one first.
func TestMatchSockets(t *testing.T) {
	listening := func(name, address string) socket {
		l, err := net.Listen("tcp", address)
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return socket{name, l}
	}
	everywhere := listening("", "[::]:0")
	_, port, _ := net.SplitHostPort(everywhere.address())
	local := listening("", "127.0.0.1:0")
	_, localPort, _ := net.SplitHostPort(local.address())
	all := sockets{everywhere, local}
	for address, want := range map[string]net.Listener{
		"0.0.0.0:" + port: everywhere.listener, ":" + port: everywhere.listener, "[::]:" + port: everywhere.listener,
		"localhost:" + localPort: local.listener, "127.0.0.1:" + port: nil, "0.0.0.0:" + localPort: nil, "unix:/s": nil,
	} {
		of, left := all.match([]string{"127.0.0.1:1", address})
		if of[address] != want || len(left)+len(of) != len(all) {
			t.Errorf("%s: %v, %d left", address, of[address], len(left))
		}
	}
	of, left := sockets{everywhere}.match([]string{"0.0.0.0:" + port, "[::]:" + port})
	if of["[::]:"+port] == nil || len(of) != 1 || len(left) > 0 {
		t.Errorf("got %v, and %v is left", of, left)
	}
}

// Sockets that are named for the admin API or for metrics are not for clients.
func TestNamedSockets(t *testing.T) {
	for name, want := range map[string]string{"admin": "admin.listen", "metrics": "metrics.listen", "mirrord.socket": ""} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		defer func() { _ = l.Close() }()
		cfg := &config.Config{Listen: "127.0.0.1:1"}
		err = sockets{{name, l}}.place(cfg)
		if want == "" && (err != nil || cfg.Listen != l.Addr().String()) {
			t.Errorf("%s: %v, listen is %s", name, err, cfg.Listen)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), "set "+want+" to")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const (
	restartPulls   = 100
	restartPullers = 10
	restarts       = 3
)

// A hundred pulls over some restarts: connections wait in the socket for the next
// process, and the last one ends what it has begun.
func TestPullsOverRestart(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/image", 3, 200_000, 1)
	m := newMirror(t)
	m.pass(t, "tcp", m.mirror)
	check(t, m.serve(c.upstream()))
	var done atomic.Int32
	var pullers errgroup.Group
	for range restartPullers {
		pullers.Go(func() error {
			for range restartPulls / restartPullers {
				p := puller{base: "http://" + m.mirror + "/v2/library/image"}
				if err := p.pull("latest"); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	for i := range restarts {
		check(t, m.poll("pulls", func() bool { return done.Load() >= int32(restartPulls*(i+1)/(restarts+2)) }))
		check(t, m.end(terminate))
		check(t, m.serve(c.upstream()))
	}
	if done.Load() == restartPulls {
		t.Error("the last restart was after the last pull")
	}
	check(t, pullers.Wait())
}

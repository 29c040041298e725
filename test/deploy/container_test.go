package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// container is a process with a root file system of its own.
type container struct {
	Root         string
	ReadOnlyRoot bool
	Mounts       []mount
	Args, Env    []string
	UID, GID     int
	Groups       []int
}

type mount struct {
	Source, Path string
	ReadOnly     bool
}

// become replaces this process, without any capability.
func (c container) become() error {
	runtime.LockOSThread() // capabilities are those of a thread
	if err := c.mountAll(); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(c.Root), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter %s: %w", c.Root, err)
	}
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
	err := errors.Join(
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		syscall.Setgroups(c.Groups), syscall.Setgid(c.GID), syscall.Setuid(c.UID))
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", c.Args[0], syscall.Exec(c.Args[0], c.Args, c.Env))
}

func (c container) mountAll() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := bind(c.Root, c.Root, false); err != nil {
		return err
	}
	for _, m := range c.Mounts {
		at := filepath.Join(c.Root, m.Path)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := bind(m.Source, at, m.ReadOnly); err != nil {
			return err
		}
	}
	if !c.ReadOnlyRoot {
		return nil
	}
	return unix.Mount("", c.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func bind(source, target string, readOnly bool) error {
	err := unix.Mount(source, target, "", unix.MS_BIND, "")
	if err == nil && readOnly {
		err = unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	if err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	return nil
}

// lastOfEach returns the last entry of each variable.
func lastOfEach(env []string) []string {
	values := make(map[string]string)
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	var last []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		last = append(last, name+"="+values[name])
	}
	return last
}

// running is a container that has been started.
type running struct {
	command *exec.Cmd
	log     *lockedBuffer
	ended   chan error
}

// start starts c as PID 1 of its own, in the network of the test.
func (c container) start(t *testing.T) *running {
	t.Helper()
	c.Env = lastOfEach(c.Env)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{command: exec.Command("/proc/self/exe"), log: new(lockedBuffer), ended: make(chan error, 1)}
	r.command.Env = []string{containerEnv + "=" + string(text)}
	r.command.Stdout, r.command.Stderr = r.log, r.log
	r.command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.command.Wait() }()
	t.Cleanup(func() {
		_ = r.command.Process.Kill()
		if t.Failed() {
			t.Logf("%v:\n%s", c.Args, r.log)
		}
	})
	return r
}

// command runs another command in a container of the same kind, as exec does.
func (c container) command(t *testing.T, args ...string) {
	t.Helper()
	c.Args = args
	c.start(t).wait(t, 10*time.Second)
}

// stop ends a container like a runtime: by SIGTERM, and it has the grace period to end.
func (r *running) stop(t *testing.T, grace time.Duration) {
	t.Helper()
	if err := r.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.wait(t, grace)
}

// wait waits until the container has ended well.
func (r *running) wait(t *testing.T, atMost time.Duration) {
	t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Fatalf("the container ended with %v", err)
		}
	case <-time.After(atMost):
		t.Fatalf("the container has not ended within %v", atMost)
	}
	for _, wrong := range []string{"read-only file system", "permission denied", "not permitted", `"level":"error"`} {
		if strings.Contains(r.log.String(), wrong) {
			t.Errorf("the log has %q", wrong)
		}
	}
}

// wantNoListen checks that the address of the image does not override that of the file: the
// image would add a listener without TLS to those of the file.
func wantNoListen(t *testing.T, env []string) {
	t.Helper()
	listen := ""
	for _, entry := range env { // the last one counts
		if value, ok := strings.CutPrefix(entry, "MIRRORD_LISTEN="); ok {
			listen = value
		}
	}
	if listen != "" {
		t.Errorf("MIRRORD_LISTEN is %q", listen)
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

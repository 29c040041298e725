//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	runWithin  = 2 * time.Minute
	stopWithin = 15 * time.Second
	logTail    = 8 << 10 // bytes of a log that a failure shows
)

// home is the directory in which a program runs. It gets little else from outside, so
// that no login, proxy or setting of the machine affects it.
type home struct {
	dir   string
	root  string // that programs run in, see enter
	hosts string // a file for /etc/hosts; without one programs are run as they are
	env   []string
	ctx   context.Context // ends with the test
	runs  sync.WaitGroup  // what run has started
}

// newHome creates a home that is removed, and unmounted, with the test. It is not
// t.TempDir because that is long: podman limits runroot to 50 characters, and the path
// of a socket has at most 107.
func newHome(t *testing.T) *home {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "e2e-*")
	if err != nil {
		t.Fatal(err)
	}
	h := &home{dir: dir, ctx: t.Context()}
	t.Cleanup(func() {
		h.runs.Wait()
		h.unmount()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *home) path(elements ...string) string {
	return filepath.Join(append([]string{h.dir}, elements...)...)
}

// write creates a file with its parent directories, and returns its path.
func (h *home) write(t *testing.T, name, content string) string {
	t.Helper()
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// unmount unmounts what a killed daemon has left mounted.
func (h *home) unmount() {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], h.dir+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Sort(points)
	for _, point := range slices.Backward(points) { // the inner ones first
		_ = syscall.Unmount(point, syscall.MNT_DETACH)
	}
}

func (h *home) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if h.hosts != "" {
		name, args = os.Args[0], append([]string{enterArg, h.root, h.hosts, name}, args...)
	}
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = h.dir
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + h.dir}, h.env...)
	// Cleanup does not run when the tests time out.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// run runs a program until it exits or the test ends, and returns its standard output.
func (h *home) run(name string, args ...string) (string, error) {
	h.runs.Add(1)
	defer h.runs.Done()
	ctx, cancel := context.WithTimeout(h.ctx, runWithin)
	defer cancel()
	c := h.command(ctx, name, args...)
	c.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(append([]string{name}, args...), " "), err, out.Bytes(), complaint.Bytes())
	}
	return out.String(), nil
}

// tool is a program in a home with its common arguments.
type tool struct {
	home *home
	name string
	args []string
}

func (h *home) tool(name string, args ...string) tool { return tool{h, name, args} }

func (c tool) run(args ...string) (string, error) {
	return c.home.run(c.name, slices.Concat(c.args, args)...)
}

// must is run with the white space trimmed; it fails the test on an error.
func (h *home) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	return h.tool(name).must(t, args...)
}

// must is run with the white space trimmed; it fails the test on an error.
func (c tool) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// process is a daemon. It is stopped at the end of the test, which shows the end of its
// log when it has failed.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	gone chan struct{} // closed when the process has ended
}

func (h *home) start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(h.dir, filepath.Base(name)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: h.command(context.Background(), name, args...), log: log, gone: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.gone)
	}()
	t.Cleanup(func() {
		p.end(t)
		if t.Failed() {
			t.Logf("the end of the log of %s, %s:\n%s", name, p.cmd.ProcessState, p.tail())
		}
		_ = log.Close()
	})
	return p
}

// await returns when the process is ready, and fails the test when it exits instead.
func (p *process) await(t *testing.T, within time.Duration, ready func() bool) {
	t.Helper()
	eventually(t, within, p.cmd.Path+" is ready", func() bool {
		select {
		case <-p.gone:
			t.Fatalf("%s exited before it was ready: %s", p.cmd.Path, p.cmd.ProcessState)
		default:
		}
		return ready()
	})
}

// end terminates the process, by force if it does not exit in time.
func (p *process) end(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(stopWithin):
		t.Errorf("%s did not stop within %s of SIGTERM", p.cmd.Path, stopWithin)
		p.kill()
	}
}

// kill is kill -9: the process cannot clean up.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

func (p *process) tail() string {
	log, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-logTail):])
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, within time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

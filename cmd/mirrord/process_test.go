package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mirrord/internal/oci"
)

const terminate = syscall.SIGTERM

// process is the real binary over a cache directory, in one life after the other.
// It belongs to one goroutine, but for its log.
type process struct {
	binary        string // empty: the tests' own
	home, cache   string
	mirror, admin string     // addresses, the same in each life
	env           []string   // more variables
	sockets       []*os.File // passed as systemd does; their listeners are not configured
	terminal      *os.File   // for the log; nil: it is taken by Write
	running       *exec.Cmd
	ended         chan error

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

// newMirror returns a process that does not run yet, and ends with the test.
func newMirror(t *testing.T) *process {
	t.Helper()
	p, err := newProcess(t.TempDir())
	check(t, err)
	t.Cleanup(p.kill)
	return p
}

func newProcess(home string) (*process, error) {
	p := &process{home: home, cache: filepath.Join(home, "cache")}
	var err1, err2 error
	p.mirror, err1 = freeAddress()
	p.admin, err2 = freeAddress()
	return p, errors.Join(err1, err2)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts the binary, its tags never fresh and no probe of the quota.
func (p *process) start(flags ...string) error {
	binary, err := exec.LookPath(cmp.Or(p.binary, "mirrord"))
	if err != nil {
		return err
	}
	args := []string{"serve", "--admin-listen", p.admin, "--cache-dir", p.cache, "--cache-min-free", "0", "--tags-fresh", "0s", "--quota-probe", "0s"}
	if p.sockets == nil {
		args = append(args, "--listen", p.mirror)
		p.running = exec.Command(binary, append(args, flags...)...)
	} else {
		p.running = p.activated(binary, append(args, flags...))
	}
	p.running.Dir = p.home
	// The race detector would let the process wait for a second at its end.
	p.running.Env = append(append(os.Environ(), "HOME="+p.home, "GORACE=atexit_sleep_ms=0"), p.env...)
	p.running.Stderr = p
	if p.terminal != nil {
		p.running.Stderr = p.terminal
	}
	if err := p.running.Start(); err != nil {
		p.running = nil
		return err
	}
	p.ended = make(chan error, 1)
	go func(c *exec.Cmd) { p.ended <- c.Wait() }(p.running)
	return nil
}

// Write takes the daemon's log.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(text)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// forgetLog clears the log.
func (p *process) forgetLog() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.Reset()
}

// serve starts the binary and waits until it is ready.
func (p *process) serve(flags ...string) error {
	if err := p.start(flags...); err != nil {
		return err
	}
	return p.poll("readiness", func() bool {
		status, _, err := p.ask("/readyz")
		return err == nil && status == http.StatusOK
	})
}

// await waits until a metric, with its labels, has a value.
func (p *process) await(metric, value string) error {
	return p.poll(metric+" "+value, func() bool {
		_, text, err := p.ask("/metrics")
		return err == nil && strings.Contains(text, "\n"+metric+" "+value+"\n")
	})
}

// ask asks the admin listener.
func (p *process) ask(path string) (status int, body string, err error) {
	token, _ := os.ReadFile(filepath.Join(p.cache, "admin-token")) // the first life has none at first
	return p.askAs(http.MethodGet, path, strings.TrimSpace(string(token)))
}

// askAs sends a request to the admin listener with a token, unless that is empty.
func (p *process) askAs(method, path, token string) (status int, body string, err error) {
	req, err := http.NewRequest(method, "http://"+p.admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// poll waits until something holds of the daemon, which must not end meanwhile.
func (p *process) poll(what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case err := <-p.ended:
			p.running = nil
			return fmt.Errorf("waiting for %s: the daemon ended: %v\n%s", what, err, p.text())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s took too long\n%s", what, p.text())
		}
	}
	return nil
}

// signal does nothing when the daemon has ended by itself.
func (p *process) signal(s os.Signal) { _ = p.running.Process.Signal(s) }

// end sends a signal and returns how the daemon ended.
func (p *process) end(s os.Signal) error {
	p.signal(s)
	err := <-p.ended
	p.running = nil
	return err
}

// wait returns how the daemon ended by itself, and fails the test when it has not in time.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.ended:
		p.running = nil
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("the daemon still runs\n%s", p.text())
		return nil
	}
}

// kill ends the daemon if it runs.
func (p *process) kill() {
	if p.running != nil {
		_ = p.end(os.Kill)
	}
}

// blobPath is where the mirror keeps a blob.
func (p *process) blobPath(d oci.Digest) string {
	return filepath.Join(p.cache, "blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

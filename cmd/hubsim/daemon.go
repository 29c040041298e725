package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	readyWithin = 15 * time.Second
	stopWithin  = 10 * time.Second
)

// daemon is a mirrord in a process of its own.
type daemon struct {
	url  string // of its registry
	dir  string // its cache, temporary
	said bytes.Buffer
	gone chan struct{} // closed when the process has ended; then said may be read
	cmd  *exec.Cmd
}

// startDaemon returns when the daemon is ready. The caller stops it.
func startDaemon(ctx context.Context, program, upstream string) (*daemon, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mirrord-demo-*")
	if err != nil {
		return nil, err
	}
	d := &daemon{url: "http://" + listen, dir: dir, gone: make(chan struct{})}
	d.cmd = exec.Command(program, "serve",
		"--listen", listen, "--admin-listen", admin,
		"--cache-dir", dir, "--cache-min-free", "0",
		"--tags-fresh", tagsFresh.String(), "--quota-probe", "0s",
		"--upstream", "name=docker.io,url="+upstream,
		"--log-level", "warn")
	d.cmd.Stdout, d.cmd.Stderr = &d.said, &d.said
	if err := d.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start mirrord: %w", err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.gone)
	}()
	if err := d.ready(ctx, "http://"+admin+"/readyz"); err != nil {
		d.stop()
		return nil, d.explain(err)
	}
	return d, nil
}

// freeAddress finds a port that nobody listens on, so far.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (d *daemon) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-d.gone:
			return fmt.Errorf("mirrord ended before it was ready: %v", d.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("mirrord was not ready at %s: %w", url, ctx.Err())
		}
	}
}

// stop ends the process, by force when it does not end by itself, and removes
// the cache.
func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.gone:
	case <-time.After(stopWithin):
		_ = d.cmd.Process.Kill()
		<-d.gone
	}
	_ = os.RemoveAll(d.dir)
}

// explain adds to an error what a daemon that has been stopped said.
func (d *daemon) explain(err error) error {
	if d.said.Len() == 0 {
		return err
	}
	return fmt.Errorf("%w; mirrord said:\n%s", err, d.said.String())
}

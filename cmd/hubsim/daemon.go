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
	url    string // of its registry
	dir    string // its cache, temporary
	output bytes.Buffer
	exited chan struct{} // closed when the process has exited; then output may be read
	cmd    *exec.Cmd
}

// startDaemon starts a daemon and waits until it is ready. The caller calls stop.
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
	d := &daemon{url: "http://" + listen, dir: dir, exited: make(chan struct{})}
	d.cmd = exec.Command(program, "serve",
		"--listen", listen, "--admin-listen", admin,
		"--cache-dir", dir, "--cache-min-free", "0",
		"--tags-fresh", tagsFresh.String(), "--quota-probe", "0s",
		"--upstream", "name=docker.io,url="+upstream,
		"--log-level", "warn")
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	if err := d.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start mirrord: %w", err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.exited)
	}()
	if err := d.ready(ctx, "http://"+admin+"/readyz"); err != nil {
		d.stop()
		return nil, d.withOutput(err)
	}
	return d, nil
}

// freeAddress returns an address with a port that is free at the moment.
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
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-d.exited:
			return fmt.Errorf("mirrord exited before it was ready: %v", d.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("mirrord was not ready at %s: %w", url, ctx.Err())
		}
	}
}

// stop terminates the process, kills it when it does not exit in time, and removes the
// cache.
func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(stopWithin):
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
	_ = os.RemoveAll(d.dir)
}

// withOutput adds the output of a stopped daemon to an error.
func (d *daemon) withOutput(err error) error {
	if d.output.Len() == 0 {
		return err
	}
	return fmt.Errorf("%w; output of mirrord:\n%s", err, d.output.String())
}

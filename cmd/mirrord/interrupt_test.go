package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// terminal is a command on a terminal. Its log is what that shows.
type terminal struct {
	process
	command *exec.Cmd
	keys    io.WriteCloser
}

// onTerminal runs a command line for the mirror m, with the images of the default upstream.
func onTerminal(t *testing.T, m *process, line string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("there is no script(1), which makes a terminal")
	}
	x := &terminal{command: exec.Command("script", "-qefc", line+" --admin-listen "+m.admin, os.DevNull)}
	x.command.Env = append(os.Environ(), "HOME="+m.home, "SHELL=/bin/sh", "GORACE=atexit_sleep_ms=0")
	x.command.Stdout = x
	var err error
	x.keys, err = x.command.StdinPipe()
	check(t, err)
	check(t, x.command.Start())
	x.ended = make(chan error, 1)
	go func() { x.ended <- x.command.Wait() }()
	return x
}

// wait waits for the end, which must come soon, and returns the exit status.
func (x *terminal) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-x.ended:
	case <-time.After(10 * time.Second):
		_ = x.command.Process.Kill()
		<-x.ended
		t.Fatalf("it goes on: %s", x.text())
	}
	return x.command.ProcessState.ExitCode()
}

// Ctrl-C at the question of mirrord warm ends it at once.
func TestInterruptedQuestion(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/image", 1, 1000, 1)
	m := newMirror(t)
	check(t, m.serve(c.upstream()))
	x := onTerminal(t, m, "mirrord warm --max-pulls 0 image")
	check(t, m.poll("the question", func() bool { return strings.Contains(x.text(), "Spend 1 pulls? [y/N]") }))
	_, err := io.WriteString(x.keys, "\x03")
	check(t, err)
	if x.wait(t) == 0 {
		t.Errorf("the exit status is 0: %s", x.text())
	}
}

// An archive is not written to a terminal.
func TestExportToTerminal(t *testing.T) {
	m := newMirror(t)
	x := onTerminal(t, m, "mirrord export image -o -")
	if status := x.wait(t); status != exitRefused || !strings.Contains(x.text(), "would be written to the terminal; name a file") {
		t.Errorf("status %d: %s", status, x.text())
	}
}

package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Ctrl-C at the question of mirrord warm, on a terminal, ends it at once.
func TestInterruptedQuestion(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("there is no script(1), which makes a terminal")
	}
	c := newCatalog(t)
	c.addLayers(t, "library/image", 1, 1000, 1)
	m := newMirror(t)
	check(t, m.serve(c.upstream()))
	var shown process // its log is what the terminal shows
	terminal := exec.Command("script", "-qefc", "mirrord warm --max-pulls 0 --admin-listen "+m.admin+" image", os.DevNull)
	terminal.Env = append(os.Environ(), "HOME="+m.home, "SHELL=/bin/sh", "GORACE=atexit_sleep_ms=0")
	terminal.Stdout = &shown
	keys, err := terminal.StdinPipe()
	check(t, err)
	check(t, terminal.Start())
	ended := make(chan struct{})
	go func() { _ = terminal.Wait(); close(ended) }()
	check(t, m.poll("the question", func() bool { return strings.Contains(shown.text(), "Spend 1 pulls? [y/N]") }))
	_, err = io.WriteString(keys, "\x03")
	check(t, err)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = terminal.Process.Kill()
		<-ended
		t.Fatalf("it goes on: %s", shown.text())
	}
	if terminal.ProcessState.Success() {
		t.Errorf("the exit status is 0: %s", shown.text())
	}
}

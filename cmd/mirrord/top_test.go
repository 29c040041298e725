package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/internal/status"
)

// screen collects what a program writes to a terminal.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// On a terminal the screen is drawn until q, Ctrl-C or a signal, and then the terminal is
// as it was before.
func TestTopOnTerminal(t *testing.T) {
	mirror := newMirror(t)
	check(t, mirror.serve("--upstream", "name=docker.io,url=http://127.0.0.1:9"))
	for name, end := range map[string]func(person *os.File, top *os.Process) error{
		"q":      func(person *os.File, _ *os.Process) error { return write(person, "xq") },
		"Ctrl-C": func(person *os.File, _ *os.Process) error { return write(person, "\x03") },
		"signal": func(_ *os.File, top *os.Process) error { return top.Signal(syscall.SIGTERM) },
	} {
		person, terminal := openTerminal(t)
		check(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 40}))
		before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		check(t, err)
		var shown screen
		go func() { _, _ = io.Copy(&shown, person) }() // until the terminal is closed
		top := exec.Command("mirrord", "top", "--admin-listen", mirror.admin)
		top.Stdin, top.Stdout, top.Stderr = terminal, terminal, terminal
		check(t, top.Start())
		check(t, mirror.poll("a screen", func() bool { return shown.has("- fetched,") }))
		check(t, end(person, top.Process))
		if err := top.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		check(t, mirror.poll("the end", func() bool { return shown.has(leaveScreen) }))
		after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		check(t, err)
		if *before != *after || !shown.has(enterScreen) {
			t.Errorf("%s: the terminal was %+v and is %+v", name, before, after)
		}
	}
}

func write(to io.Writer, text string) error {
	_, err := io.WriteString(to, text)
	return err
}

// Rates are what has come since the last status, and nothing when none comes.
func TestTopRates(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := status.Status{Now: at, Start: status.Traffic{Bytes: 100}, Images: []status.Use{{Name: "a", Bytes: 10}}}
	second := status.Status{Now: at.Add(2 * time.Second), Start: status.Traffic{Bytes: 4100, Requests: 6}, Images: []status.Use{{Name: "a", Bytes: 5}, {Name: "b", Bytes: 2048}}}
	view := (*topView)(nil).next(first).next(second)
	if view.sent != 2000 || view.requests != 3 || view.images["a"] != 0 || view.images["b"] != 1024 {
		t.Errorf("%+v", view)
	}
	table := view.table(topLines)
	if b, a := strings.Index(table, "\nb "), strings.Index(table, "\na "); b < 0 || a < b || !strings.Contains(table, "1KiB/s") {
		t.Errorf("the faster one comes first:\n%s", table)
	}
	if view.quiet() {
		t.Error("quiet at once")
	}
	view.at = view.at.Add(-quietAfter)
	if !view.quiet() || view.sent != 0 || strings.Contains(view.table(topLines), "1KiB/s") {
		t.Errorf("%+v", view)
	}
	if again := view.next(first); again.sent != 0 { // the clock of the mirror has been set back
		t.Errorf("%+v", again)
	}
}

package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mirrord/internal/admin"
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
	check(t, m.poll("the question", func() bool { return strings.Contains(x.text(), "Spend 1 pull? [y/N]") }))
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

// Ctrl-C ends verbs that may take long with what was done until then.
func TestInterruptedSummary(t *testing.T) {
	const collected = `{"tags":[],"blobs":7,"bytes":1024,"in_use":0,"done":false,"adopted":1,"lost":2,"strays":0,"unfinished":0,"unfinished_bytes":0,"evicted":0,"evicted_bytes":0}`
	for _, test := range []struct{ verb, line, out, errs string }{
		{"gc", collected, "the index: 1 file adopted that it did not know, 2 records removed whose file is lost, 0 strays\n", "interrupted; the same command goes on with the rest"},
		{"gc", collected, "needed by no image: removed 0 tags and 7 blobs, 1KiB\n", "interrupted"},
		{"gc --json", collected, collected + "\n", "interrupted"},
		{"refresh a b c", `{"name":"docker.io/library/a:latest","to":"sha256:1","moved":false,"pulled":false,"failed":"it is down"}`, "a:latest: it is down", "interrupted: asked for 1 of 3 tags, 1 failed"},
		{"notify test", `{"name":"ops","delivered":true}`, "ops: delivered", "interrupted after 1 webhook, 0 failed"},
		{"doctor", `{"name":"clock","state":"fail","detail":"it is wrong"}`, "fail  clock: it is wrong\n", ", 1 failed"},
	} {
		t.Run(test.verb, func(t *testing.T) {
			out, errs := interrupt(t, test.line, strings.Fields(test.verb)...)
			if !strings.Contains(out, test.out) {
				t.Errorf("it prints %q, want %q", out, test.out)
			}
			if !strings.Contains(errs, test.errs) {
				t.Errorf("it says %q, want %q", errs, test.errs)
			}
		})
	}
}

// interrupt runs a verb that a mirror responds to with one line and then works on, and
// interrupts it. It returns what that writes.
func interrupt(t *testing.T, line string, verb ...string) (out, errs string) {
	t.Helper()
	read := make(chan struct{})
	mux := http.NewServeMux()
	own := admin.New(admin.Options{Dir: t.TempDir(), Metrics: http.NotFoundHandler()}).Handler()
	mux.Handle("GET /verify", own)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ready\n") })
	mux.HandleFunc("POST /v1/", func(w http.ResponseWriter, r *http.Request) {
		// More than sockets hold, so that the line has been read when the rest is written.
		_, err := io.WriteString(w, line+strings.Repeat("\n", 32<<20))
		if err := errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
			t.Error(err)
		}
		close(read)
		<-r.Context().Done()
	})
	mirror := httptest.NewServer(mux)
	defer mirror.Close()
	command := exec.Command("mirrord", append(verb, "--admin-listen", strings.TrimPrefix(mirror.URL, "http://"))...)
	command.Env = append(os.Environ(), "HOME="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	check(t, command.Start())
	<-read
	check(t, command.Process.Signal(os.Interrupt))
	if err := command.Wait(); command.ProcessState.ExitCode() != exitFailed {
		t.Errorf("it ends with %v", err)
	}
	return stdout.String(), stderr.String()
}

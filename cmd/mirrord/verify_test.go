package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mirrord/internal/admin"
	"mirrord/internal/cache"
)

// A verification that is interrupted reports what it has found so far.
func TestVerifyInterrupted(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /verify", admin.New(admin.Options{Dir: t.TempDir(), Metrics: http.NotFoundHandler()}).Handler())
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) {
		found := cache.Findings{Blobs: 7, Bytes: 7 << 20, Of: 9 << 30, Damaged: 1}
		if err := errors.Join(json.NewEncoder(w).Encode(admin.Finding{Found: &found, Name: "a file", Wrong: "is rotten"}),
			http.NewResponseController(w).Flush()); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	mirror := httptest.NewServer(mux)
	defer mirror.Close()

	command := exec.Command("mirrord", "verify", "--admin-listen", strings.TrimPrefix(mirror.URL, "http://"))
	command.Env = append(os.Environ(), "HOME="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	var errs strings.Builder
	command.Stderr = &errs
	pipe, err := command.StdoutPipe()
	check(t, err)
	check(t, command.Start())
	out := bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); err != nil || line != "a file: is rotten\n" {
		t.Errorf("it prints %q, %v", line, err)
	}
	check(t, command.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(out)
	check(t, err)
	if err := command.Wait(); command.ProcessState.ExitCode() != exitFailed {
		t.Errorf("it ends with %v", err)
	}
	if text := string(rest); !strings.Contains(text, "intact   7  7MiB read in") || !strings.Contains(text, "damaged  1") {
		t.Errorf("it prints %s", text)
	}
	if !strings.Contains(errs.String(), "the verification is not complete: interrupt") {
		t.Errorf("it says %s", errs.String())
	}
}

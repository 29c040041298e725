package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// hook is a receiver of webhooks.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	status   int
	received []string // bodies that were accepted
	refused  int      // of others, since the status was set
	header   http.Header
}

func newHook() *hook {
	h := &hook{status: http.StatusNoContent}
	h.Server = httptest.NewServer(h)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.header = r.Header
	if h.status == http.StatusNoContent {
		h.received = append(h.received, string(body))
	} else {
		h.refused++
	}
	w.WriteHeader(h.status)
}

func (h *hook) has(event string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if event == "refused" {
		return h.refused > 0
	}
	return strings.Contains(strings.Join(h.received, "\n"), `"type":"mirrord.`+event+`"`)
}

// hook EVENT waits until the receiver has an event, and prints the last header and all
// bodies; hook status N makes it respond so, and hook refused waits until it has done that
// with a status that is no success.
func hookCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if args[0] == "status" {
		w.hook.mu.Lock()
		defer w.hook.mu.Unlock()
		_, err := fmt.Sscan(args[1], &w.hook.status)
		ts.Check(err)
		w.hook.refused = 0
		return
	}
	ts.Check(w.poll(args[0], func() bool { return w.hook.has(args[0]) }))
	w.hook.mu.Lock()
	defer w.hook.mu.Unlock()
	ts.Check(w.hook.header.Write(ts.Stdout()))
	_, _ = fmt.Fprintln(ts.Stdout(), strings.Join(w.hook.received, "\n"))
}

package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"mirrord/internal/cache"
)

// Finding is one line of the response to a verification: how far it is, what is
// wrong with a file, and at the end that it is done or why it is not.
type Finding struct {
	Found *cache.Findings `json:"found,omitempty"`
	Name  string          `json:"name,omitempty"`
	Wrong string          `json:"wrong,omitempty"`
	Done  bool            `json:"done,omitempty"`
	Error string          `json:"error,omitempty"`
}

const (
	// ProgressEvery is how often the progress of a verification is reported.
	ProgressEvery = 200 * time.Millisecond

	// verifyRate is how many bytes a second are read from the disk of a mirror that
	// serves: a third of what a slow one gives, and 50 GiB in 27 minutes.
	verifyRate = 32 << 20
)

// serveDirectory responds with the directory that would be verified.
func (a *API) serveDirectory(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, RealPath(a.opts.Dir)+"\n")
}

// serveVerify verifies the cache while it serves and reports it in lines of JSON.
// The query may have repair=true, and the dir that the client means. Progress comes
// at most every ProgressEvery, faults at once.
func (a *API) serveVerify(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if dir, own := query.Get("dir"), RealPath(a.opts.Dir); dir != "" && dir != own {
		http.Error(w, fmt.Sprintf("this mirror's cache is in %s", own), http.StatusConflict)
		return
	}
	if !a.verifying.TryLock() {
		http.Error(w, "a verification is in progress already", http.StatusConflict)
		return
	}
	defer a.verifying.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := newLineWriter(w)
	found, err := a.opts.Cache.Verify(r.Context(), cache.VerifyOptions{Repair: query.Get("repair") == "true", Rate: verifyRate}, lines.progress)
	last := Finding{Found: &found, Done: true}
	if err != nil {
		last.Error = err.Error()
	}
	lines.write(last)
}

// lineWriter writes findings to a client. Errors are ignored: a client that has left
// ends the verification by its context.
type lineWriter struct {
	encoder *json.Encoder
	flusher *http.ResponseController
	last    time.Time
}

func newLineWriter(w http.ResponseWriter) *lineWriter {
	l := &lineWriter{encoder: json.NewEncoder(w), flusher: http.NewResponseController(w)}
	_ = l.flusher.Flush() // the first file may take long
	return l
}

func (l *lineWriter) progress(found cache.Findings, fault *cache.Fault) {
	line := Finding{Found: &found}
	if fault != nil {
		line.Name, line.Wrong = fault.Name, fault.Err.Error()
	} else if time.Since(l.last) < ProgressEvery {
		return
	}
	l.last = time.Now()
	l.write(line)
}

func (l *lineWriter) write(line Finding) {
	_ = errors.Join(l.encoder.Encode(line), l.flusher.Flush())
}

// RealPath is one name for a directory, however it is given.
func RealPath(dir string) string {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return dir
}

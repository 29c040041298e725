package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"mirrord/internal/cache"
)

// finding is one line of what the admin API tells of a verification: how far it
// is, what is wrong with a file, and at the end that it is done or why not.
type finding struct {
	Found *cache.Findings `json:"found,omitempty"`
	Name  string          `json:"name,omitempty"`
	Wrong string          `json:"wrong,omitempty"`
	Done  bool            `json:"done,omitempty"`
	Error string          `json:"error,omitempty"`
}

const (
	// tellEvery is how often it is told how far a verification is.
	tellEvery = 200 * time.Millisecond
	// verifyRate is how many bytes a second are read from the disk of a mirror that
	// serves: a third of what a slow one gives, and 50 GiB in 27 minutes.
	verifyRate = 32 << 20
)

// serveDirectory tells which directory would be verified.
func (a *admin) serveDirectory(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, resolved(a.dir)+"\n")
}

// askDirectory asks the mirror at listen which directory it uses.
func askDirectory(ctx context.Context, listen string) (string, error) {
	resp, err := askAdmin(ctx, http.MethodGet, listen, "/verify")
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, adminWords))
	dir := strings.TrimSuffix(string(text), "\n")
	if err == nil && !filepath.IsAbs(dir) {
		err = fmt.Errorf("what answers at %s is not a mirror", listen)
	}
	return dir, err
}

// serveVerify verifies the cache while it serves and tells of it in lines of
// JSON. The query may have repair=true, and the dir that the asker means. Figures
// come at most every tellEvery, faults at once.
func (a *admin) serveVerify(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if dir := query.Get("dir"); dir != "" && dir != resolved(a.dir) {
		http.Error(w, fmt.Sprintf("this mirror's cache is in %s", resolved(a.dir)), http.StatusConflict)
		return
	}
	if !a.verifying.TryLock() {
		http.Error(w, "the cache is being verified already", http.StatusConflict)
		return
	}
	defer a.verifying.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	encoder, flusher := json.NewEncoder(w), http.NewResponseController(w)
	_ = flusher.Flush() // the first file may take long
	var told time.Time
	tell := func(found cache.Findings, fault *cache.Fault) {
		line := finding{Found: &found}
		if fault != nil {
			line.Name, line.Wrong = fault.Name, fault.Err.Error()
		} else if time.Since(told) < tellEvery {
			return
		}
		told = time.Now()
		_ = errors.Join(encoder.Encode(line), flusher.Flush()) // an asker who has left ends it by the context
	}
	found, err := a.cache.Verify(r.Context(), cache.VerifyOptions{Repair: query.Get("repair") == "true", Rate: verifyRate}, tell)
	last := finding{Found: &found, Done: true}
	if err != nil {
		last.Error = err.Error()
	}
	_ = encoder.Encode(last)
}

// resolved is one name for a directory, however it is called.
func resolved(dir string) string {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return dir
}

// verifyFunc verifies a cache: that of a running mirror or one at rest.
type verifyFunc func(ctx context.Context, repair bool, tell func(cache.Findings, *cache.Fault)) (cache.Findings, error)

// verifyLive asks the mirror at listen, which uses dir.
func verifyLive(listen, dir string) verifyFunc {
	return func(ctx context.Context, repair bool, tell func(cache.Findings, *cache.Fault)) (found cache.Findings, err error) {
		path := fmt.Sprintf("/verify?repair=%t&dir=%s", repair, url.QueryEscape(dir))
		resp, err := askAdmin(ctx, http.MethodPost, listen, path)
		if err != nil {
			return found, err
		}
		defer func() { _ = resp.Body.Close() }()
		for decoder := json.NewDecoder(resp.Body); ; {
			var line finding
			err := decoder.Decode(&line)
			if ctx.Err() != nil {
				return found, context.Cause(ctx)
			}
			if err != nil {
				return found, fmt.Errorf("the mirror at %s has broken off: %w", listen, err)
			}
			if line.Found != nil {
				found = *line.Found
			}
			switch {
			case line.Error != "":
				return found, errors.New(line.Error)
			case line.Done:
				return found, nil
			case line.Name != "":
				tell(found, &cache.Fault{Name: line.Name, Err: errors.New(line.Wrong)})
			default:
				tell(found, nil)
			}
		}
	}
}

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
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

// verify verifies the cache while it serves and reports it in lines of JSON.
// The query may have repair=true, and the dir that the client means. Progress comes
// at most every ProgressEvery, faults at once.
func (a *API) verify(r *http.Request, lines *lineWriter) error {
	query := r.URL.Query()
	if dir, own := query.Get("dir"), RealPath(a.opts.Dir); dir != "" && dir != own {
		return refuse(http.StatusConflict, fmt.Errorf("this mirror's cache is in %s", own))
	}
	if !a.verifying.TryLock() {
		return refuse(http.StatusConflict, errors.New("a verification is in progress already"))
	}
	defer a.verifying.Unlock()
	lines.begin() // the first file may take long
	progress := findingWriter{lines: lines}
	found, err := a.opts.Cache.Verify(r.Context(), cache.VerifyOptions{Repair: query.Get("repair") == "true", Rate: verifyRate}, progress.write)
	last := Finding{Found: &found, Done: true}
	if err != nil {
		last.Error, noteOf(r).err = err.Error(), err
	}
	lines.write(last)
	return nil
}

// findingWriter writes the progress of a verification.
type findingWriter struct {
	lines *lineWriter
	last  time.Time
}

func (f *findingWriter) write(found cache.Findings, fault *cache.Fault) {
	line := Finding{Found: &found}
	if fault != nil {
		line.Name, line.Wrong = fault.Name, fault.Err.Error()
	} else if time.Since(f.last) < ProgressEvery {
		return
	}
	f.last = time.Now()
	f.lines.write(line)
}

// Verify verifies the cache of the mirror, whose directory is dir, as cache.Verify
// does.
func (c *Client) Verify(ctx context.Context, dir string, repair bool, progress func(cache.Findings, *cache.Fault)) (found cache.Findings, err error) {
	query := url.Values{"repair": {strconv.FormatBool(repair)}, "dir": {dir}}
	err = c.lines(ctx, http.MethodPost, "/verify", query, nil, func(raw []byte) error {
		var line Finding
		if err := json.Unmarshal(raw, &line); err != nil {
			return err
		}
		if line.Found != nil {
			found = *line.Found
		}
		switch {
		case line.Name != "":
			progress(found, &cache.Fault{Name: line.Name, Err: errors.New(line.Wrong)})
		case !line.Done:
			progress(found, nil)
		}
		return nil
	})
	return found, err
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

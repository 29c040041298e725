package proxy

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// errorRecorder is a body that records the error of a failed Read or Seek, which
// http.ServeContent does not report. For several ranges ServeContent reads in a
// goroutine of its own. That goroutine can outlive ServeContent, so after end the
// body is not used any more; and it does not recover panics, so a panic of the body
// becomes an error here.
type errorRecorder struct {
	mu    sync.Mutex // guards the fields below; held while the body is read
	body  io.ReadSeeker
	ended bool
	err   error
}

func (w *errorRecorder) Read(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { err = w.record(recover(), err) }()
	if w.ended {
		return 0, os.ErrClosed
	}
	return w.body.Read(p)
}

func (w *errorRecorder) Seek(offset int64, whence int) (at int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { err = w.record(recover(), err) }()
	if w.ended {
		return 0, os.ErrClosed
	}
	return w.body.Seek(offset, whence)
}

// record records an error or a panic and returns it. The caller holds mu.
func (w *errorRecorder) record(panicked any, err error) error {
	if panicked != nil {
		err = panicError(panicked)
	}
	if err != nil && err != io.EOF && !w.ended {
		w.err = err
	}
	return err
}

// panicError returns the error for a recovered panic.
func panicError(panicked any) error {
	return fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
}

// end waits for a read in progress, prevents further ones and returns the error
// that ended the body.
func (w *errorRecorder) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.err
}

package proxy

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// watched remembers the error that ended a body, which http.ServeContent does
// not tell. For several ranges ServeContent reads in a goroutine of its own. It
// may outlive ServeContent, so after end the body is left alone; and nobody
// recovers above it, so a panic of the body becomes an error here.
type watched struct {
	mu    sync.Mutex // guards all below, and is held while the body is read
	body  io.ReadSeeker
	ended bool
	err   error
}

func (w *watched) Read(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { err = w.note(recover(), err) }()
	if w.ended {
		return 0, os.ErrClosed
	}
	return w.body.Read(p)
}

func (w *watched) Seek(offset int64, whence int) (at int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { err = w.note(recover(), err) }()
	if w.ended {
		return 0, os.ErrClosed
	}
	return w.body.Seek(offset, whence)
}

// note remembers what went wrong. The caller holds mu.
func (w *watched) note(panicked any, err error) error {
	if panicked != nil {
		err = caught(panicked)
	}
	if err != nil && err != io.EOF && !w.ended {
		w.err = err
	}
	return err
}

// caught makes an error of what a panic was called with.
func caught(panicked any) error {
	return fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
}

// end waits for a read under way, keeps others from the body and returns the
// error that ended it.
func (w *watched) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.err
}

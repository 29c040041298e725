package proxy

import (
	"io"
	"os"
	"sync"
)

// watched remembers the error that ended a body, which http.ServeContent does
// not tell. For several ranges ServeContent reads in a goroutine that may
// outlive it, so after end the body is left alone.
type watched struct {
	mu    sync.Mutex // guards all below, and is held while the body is read
	body  io.ReadSeeker
	ended bool
	err   error
}

func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, os.ErrClosed
	}
	n, err := w.body.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func (w *watched) Seek(offset int64, whence int) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, os.ErrClosed
	}
	return w.body.Seek(offset, whence)
}

// end waits for a read under way, keeps others from the body and returns the
// error that ended it.
func (w *watched) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.err
}

package access

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// recheckEvery is how often a file is looked at while clients come.
const recheckEvery = 5 * time.Second

// file is the content of a file, which is read again when it changes. Its methods may
// be called concurrently.
type file[T any] struct {
	path   string
	parse  func(raw []byte) (T, error)
	failed func(error)

	mu      sync.Mutex // guards all below; held while the file is read
	content T
	stamp   os.FileInfo // of what was read last, or could not be read; nil: no file
	checked time.Time
}

// openFile reads the file. failed is called when it has changed and cannot be read any
// more; the last good content stays.
func openFile[T any](path string, parse func([]byte) (T, error), failed func(error)) (*file[T], error) {
	f := &file[T]{path: path, parse: parse, failed: failed, checked: time.Now()}
	f.stamp, _ = os.Stat(path) // that it fails is told by load
	return f, f.load()
}

// current returns the content, read again if that was not looked at for a while.
func (f *file[T]) current() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) >= recheckEvery {
		f.refresh()
	}
	return f.content
}

// reload reads the file if it has changed.
func (f *file[T]) reload() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
}

// refresh is reload for a caller that holds mu.
func (f *file[T]) refresh() {
	f.checked = time.Now()
	stamp, _ := os.Stat(f.path)
	if sameFile(stamp, f.stamp) {
		return
	}
	f.stamp = stamp
	if err := f.load(); err != nil {
		f.failed(err)
	}
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (f *file[T]) load() error {
	raw, err := os.ReadFile(f.path)
	if err != nil {
		return err // it has the path
	}
	content, err := f.parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.content = content
	return nil
}

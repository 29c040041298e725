package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// serveFile serves a file of that size and returns what ended each answer.
func serveFile(t *testing.T, size int64, patience time.Duration) (url string, ended <-chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		file, err := os.Open(path)
		if err == nil {
			defer func() { _ = file.Close() }()
			_, err = w.(io.ReaderFrom).ReadFrom(io.LimitReader(file, size))
		}
		answers <- err
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(&progressListener{l.(*net.TCPListener), patience})
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return "http://" + l.Addr().String(), answers
}

// A client that has stopped reading is cut off, and its file closed.
func TestStoppedReaderIsCutOff(t *testing.T) {
	t.Parallel()
	url, ended := serveFile(t, 1<<30, 200*time.Millisecond)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the answer ended with %v, want a time-out", err)
	}
}

// One that reads slowly, over a time much longer than that, gets all of it.
func TestSlowReaderIsServed(t *testing.T) {
	t.Parallel()
	const size, patience = 32 << 20, 300 * time.Millisecond
	url, ended := serveFile(t, size, patience)
	begun := time.Now()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var n int64
	for pace := time.NewTicker(10 * time.Millisecond); ; <-pace.C {
		read, err := io.CopyN(io.Discard, resp.Body, 256<<10)
		if n += read; err == io.EOF {
			pace.Stop()
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; n != size || err != nil || time.Since(begun) < 2*patience {
		t.Errorf("%d bytes of %d after %s, %v", n, size, time.Since(begun), err)
	}
}

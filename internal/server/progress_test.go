package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// serveFile serves a file of that size and returns what ended each answer.
func serveFile(t *testing.T, size int64, patience time.Duration) (url string, ended <-chan error) {
	t.Helper()
	return serveBody(t, size, patience, func(w http.ResponseWriter, file *os.File) error {
		_, err := w.(io.ReaderFrom).ReadFrom(io.LimitReader(file, size))
		return err
	})
}

// serveBody serves a file of that size as send does it.
func serveBody(t *testing.T, size int64, patience time.Duration, send func(http.ResponseWriter, *os.File) error) (url string, ended <-chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) { // connections inherit it: a write waits for kilobytes, not for megabytes
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 32<<10)
		})
		return cmp.Or(controlled, err)
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		file, err := os.Open(path)
		if err == nil {
			defer func() { _ = file.Close() }()
			err = send(w, file)
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

// A cold body is written 32 KiB at a time; the bound is the same as for a file.
func TestTricklingReaderIsCutOff(t *testing.T) {
	t.Parallel()
	const patience = 400 * time.Millisecond
	url, ended := serveBody(t, 1<<30, patience, func(w http.ResponseWriter, file *os.File) error {
		_, err := io.Copy(struct{ io.Writer }{w}, file)
		return err
	})
	resp, err := smallWindow(t).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	pace := time.NewTicker(20 * time.Millisecond) // 16 KiB each: 320 KiB in patience
	defer pace.Stop()
	var taken int64
	for taken < 4<<20 {
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the answer ended with %v, want a time-out", err)
			}
			return
		case <-pace.C:
			n, _ := io.CopyN(io.Discard, resp.Body, 16<<10) // what is wrong is told by ended
			taken += n
		}
	}
	t.Error("it was never cut off")
}

// smallWindow returns a client that tells the server of each few bytes that it
// has taken: with a large window one write would wait for megabytes.
func smallWindow(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
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

// What lets a body wait, such as a limit of bandwidth, is not held against the client:
// neither between the pieces of a file nor between writes.
func TestPausesAreNotTheClients(t *testing.T) {
	t.Parallel()
	const piece, pieces, patience = 64 << 10, 3, 200 * time.Millisecond
	for name, write := range map[string]func(http.ResponseWriter, *os.File) error{
		"file": func(w http.ResponseWriter, file *os.File) error {
			_, err := w.(io.ReaderFrom).ReadFrom(io.LimitReader(file, piece))
			return err
		},
		"write": func(w http.ResponseWriter, file *os.File) error {
			_, err := io.CopyN(struct{ io.Writer }{w}, file, piece)
			return err
		},
	} {
		url, ended := serveBody(t, pieces*piece, patience, func(w http.ResponseWriter, file *os.File) error {
			for range pieces {
				time.Sleep(patience + patience/2) // the deadlines of sockets are real time
				if err := write(w, file); err != nil {
					return err
				}
			}
			return nil
		})
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if ended := <-ended; n != pieces*piece || err != nil || ended != nil {
			t.Errorf("%s: %d bytes, %v, %v", name, n, err, ended)
		}
	}
}

package spool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func direct(_ int64, do func() error) error { return do() }

// begun returns a spool of size bytes with an empty file.
func begun(t *testing.T, size int64) *spool.Spool {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	s := spool.New(size, 0, direct)
	s.Begin(file, 0)
	return s
}

func reader(t *testing.T, s *spool.Spool, size int64, source spool.Source) *spool.Reader {
	t.Helper()
	if err := s.Acquire(); err != nil {
		t.Fatal(err)
	}
	return s.NewReader(t.Context(), oci.Result{Descriptor: oci.Descriptor{Size: size}, Via: oci.Fill}, spool.NewBudget(), source)
}

func write(t *testing.T, s *spool.Spool, p string) {
	t.Helper()
	if _, err := s.Write([]byte(p)); err != nil {
		t.Fatal(err)
	}
}

// The last byte of everything that is written waits for the verdict.
func TestLastByteWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begun(t, 5)
		var got bytes.Buffer
		done := make(chan error, 1)
		r := reader(t, s, 5, spool.Source{})
		go func() {
			_, err := io.Copy(&got, r)
			done <- errors.Join(err, r.Close())
		}()
		write(t, s, "hello")
		synctest.Wait()
		if got.String() != "hell" {
			t.Errorf("before verification a reader has %q; want all but the last byte", got.String())
		}
		s.Finish(nil)
		if err := <-done; err != nil || got.String() != "hello" {
			t.Errorf("after verification: %q, %v; want hello", got.String(), err)
		}
		s.Release()
	})
}

// A corrupt download fails every reader before its last byte.
func TestFailureBeforeLastByte(t *testing.T) {
	s := begun(t, 5)
	readers := []*spool.Reader{reader(t, s, 5, spool.Source{}), reader(t, s, 5, spool.Source{})}
	write(t, s, "hellO")
	s.Finish(oci.ErrCorrupt)
	for _, r := range readers {
		got, err := io.ReadAll(r)
		if string(got) != "hell" || !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("got %q, %v; want hell and ErrCorrupt", got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	s.Release()
	if err := s.Acquire(); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("Acquire after the failure: %v; want ErrCorrupt", err)
	}
}

// The last user closes the file, reader or writer.
func TestLastUserCloses(t *testing.T) {
	s := begun(t, 1)
	closed := false
	s.OnClose(func() { closed = true })
	r := reader(t, s, 1, spool.Source{})
	write(t, s, "x")
	s.Finish(nil)
	s.Release()
	if got, err := io.ReadAll(r); closed || string(got) != "x" || err != nil {
		t.Errorf("closed %t, read %q, %v; want an open file and x", closed, got, err)
	}
	if err := r.Close(); err != nil || !closed {
		t.Errorf("close: %v, closed %t", err, closed)
	}
	if err := s.Acquire(); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("Acquire after the end: %v; want ErrClosed", err)
	}
}

// After a failure of the disk a reader continues with the upstream's bytes, if
// those that it was sent before are the same.
func TestDiskFailureReplaced(t *testing.T) {
	for again, want := range map[string]error{"hello": nil, "jello": oci.ErrCorrupt} {
		s := begun(t, 5)
		r := reader(t, s, 5, spool.Source{Reopen: func(context.Context, error) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader([]byte(again))), nil
		}})
		write(t, s, "hel")
		if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		s.Finish(spool.ErrDisk)
		rest, err := io.ReadAll(r)
		if !errors.Is(err, want) || err == nil && (string(rest) != "lo" || r.Via() != oci.Pass) {
			t.Errorf("upstream sends %q: rest %q via %s, %v; want %v", again, rest, r.Via(), err, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		s.Release()
	}
}

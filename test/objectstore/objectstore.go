// Package objectstore runs a server of S3 for tests: versitygw, over a directory.
package objectstore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What each Store has.
const (
	Bucket    = "fleet"
	Region    = "us-east-1"
	AccessKey = "access"
	SecretKey = "secret"
)

// Store is a server with an empty bucket. It belongs to one goroutine.
type Store struct {
	Address string // host and port
	dir     string
	program string
	running *exec.Cmd
}

// New makes a Store in an empty directory, which does not run yet.
func New(dir string) (*Store, error) {
	program, err := Program()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Store{Address: l.Addr().String(), dir: dir, program: program}
	return s, errors.Join(l.Close(), os.MkdirAll(filepath.Join(dir, "data", Bucket), 0o755)) // buckets are directories
}

// Program builds the server, unless the go command has it cached, and returns its path.
var Program = sync.OnceValues(func() (string, error) {
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	c := exec.Command("go", "tool", "-n", "versitygw")
	c.Dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "test", "tools")
	program, err := c.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("build versitygw: %w\n%s", err, failed.Stderr)
	}
	return strings.TrimSpace(string(program)), err
})

// URL is where it is served.
func (s *Store) URL() string { return "http://" + s.Address }

// File is the file of an object.
func (s *Store) File(key string) string {
	return filepath.Join(s.dir, "data", Bucket, filepath.FromSlash(key))
}

const startTime = 30 * time.Second

// Start starts it and returns once it listens.
func (s *Store) Start() error {
	s.running = exec.Command(s.program, "--port", s.Address, "--quiet", "posix", filepath.Join(s.dir, "data"))
	s.running.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	if err := s.running.Start(); err != nil {
		s.running = nil
		return err
	}
	for begun := time.Now(); time.Since(begun) < startTime; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", s.Address); err == nil {
			return conn.Close()
		}
	}
	return errors.Join(fmt.Errorf("nothing listens on %s", s.Address), s.Stop())
}

// Stop ends it, if it runs.
func (s *Store) Stop() error {
	if s.running == nil {
		return nil
	}
	err := s.running.Process.Signal(syscall.SIGKILL)
	_ = s.running.Wait() // it was killed
	s.running = nil
	return err
}

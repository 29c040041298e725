package upstream

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// stream is the body of one response. It fails when no byte arrives for idleTime, or
// less than slowBytes in slowTime.
type stream struct {
	body   io.ReadCloser
	first  []byte // read by begin, and not yet by Read
	cancel func() // ends the request
	timer  *time.Timer
	idle   atomic.Bool // the timer has fired

	waited time.Duration // for the last bytes, up to slowTime
	got    int64         // of them
}

// A download holds a turn that others wait for. A line that 32 downloads share is
// faster than this, or of no use to any of them.
const (
	slowTime  = 2 * time.Minute
	slowBytes = 64 << 10
)

var (
	errIdle    = fmt.Errorf("no data for %s", idleTime)
	errTooSlow = fmt.Errorf("less than %d KiB in %s", slowBytes>>10, slowTime)
)

func newStream(body io.ReadCloser, cancel func()) *stream {
	s := &stream{body: body, cancel: cancel}
	s.timer = time.AfterFunc(idleTime, func() {
		s.idle.Store(true)
		cancel()
	})
	s.timer.Stop()
	return s
}

// begin waits for the first byte: a response without any is as good as none. The end
// of an empty body is left to Read.
func (s *stream) begin() error {
	first := make([]byte, 1)
	n, err := s.Read(first)
	s.first = first[:n]
	if n > 0 || err == io.EOF {
		return nil
	}
	return err
}

// Read waits idleTime at most. The time between two reads, which the reader takes,
// does not count.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.first) > 0 && len(p) > 0 {
		n := copy(p, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	if s.tooSlow() {
		return 0, errTooSlow
	}
	s.timer.Reset(idleTime)
	begun := time.Now()
	n, err := s.body.Read(p)
	s.timer.Stop()
	s.waited += time.Since(begun)
	s.got += int64(n)
	if err != nil && !errors.Is(err, io.EOF) && s.idle.Load() {
		err = errIdle
	}
	return n, err
}

// tooSlow reports whether too little has arrived in slowTime.
func (s *stream) tooSlow() bool {
	if s.waited < slowTime {
		return false
	}
	if s.got < slowBytes {
		return true
	}
	s.waited, s.got = 0, 0
	return false
}

func (s *stream) close() {
	s.timer.Stop()
	_ = s.body.Close() // what was read stays valid
	s.cancel()
}

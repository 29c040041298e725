package upstream

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// stream is one answer's body that gives up when no byte comes for idleTime.
type stream struct {
	body   io.ReadCloser
	cancel func() // ends the request
	timer  *time.Timer
	idle   atomic.Bool // the timer has fired
}

var errIdle = fmt.Errorf("no byte for %s", idleTime)

func newStream(body io.ReadCloser, cancel func()) *stream {
	s := &stream{body: body, cancel: cancel}
	s.timer = time.AfterFunc(idleTime, func() {
		s.idle.Store(true)
		cancel()
	})
	s.timer.Stop()
	return s
}

// Read waits idleTime at most. The time between two reads, which is the
// reader's, does not count.
func (s *stream) Read(p []byte) (int, error) {
	s.timer.Reset(idleTime)
	n, err := s.body.Read(p)
	s.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) && s.idle.Load() {
		err = errIdle
	}
	return n, err
}

func (s *stream) close() {
	s.timer.Stop()
	_ = s.body.Close() // what was read was read
	s.cancel()
}

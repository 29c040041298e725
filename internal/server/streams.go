package server

import (
	"net/http"
	"time"
)

// cutSlowStreams does for the streams of HTTP/2, on which a client stops reading
// without the connection's noticing, what CutSlow does for connections.
func cutSlowStreams(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			next.ServeHTTP(w, r)
			return
		}
		s := &progressStream{ResponseWriter: w, control: http.NewResponseController(w), time: limit, left: limit}
		next.ServeHTTP(s, r)
		_ = s.bound() // what is buffered is sent when this returns; it fails when the stream has ended
	})
}

// progressStream is a progressConn for one stream.
type progressStream struct {
	http.ResponseWriter
	control *http.ResponseController
	time    time.Duration

	left  time.Duration // for the progressBytes that are being sent
	taken int
}

// Unwrap is for http.ResponseController.
func (s *progressStream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// bound bounds the time of the next write.
func (s *progressStream) bound() error { return s.control.SetWriteDeadline(time.Now().Add(s.left)) }

// Write lifts the bound when it is done: unlike that of a connection, the deadline of a
// stream ends it also while nothing is being written.
func (s *progressStream) Write(p []byte) (int, error) {
	begun := time.Now()
	if err := s.bound(); err != nil {
		return 0, err
	}
	n, err := s.ResponseWriter.Write(p)
	if err == nil {
		err = s.control.SetWriteDeadline(time.Time{})
	}
	s.left -= time.Since(begun)
	if s.taken += n; s.taken >= progressBytes {
		s.left, s.taken = s.time, 0
	}
	return n, err
}

package server

import (
	"net/http"
	"time"
)

// cutSlowStreams does for the streams of HTTP/2, on which a client stops reading
// without the connection's noticing, what CutSlow does for connections.
func cutSlowStreams(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 {
			w = &progressStream{ResponseWriter: w, control: http.NewResponseController(w), time: limit, left: limit}
		}
		next.ServeHTTP(w, r)
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

func (s *progressStream) Write(p []byte) (int, error) {
	begun := time.Now()
	if err := s.control.SetWriteDeadline(begun.Add(s.left)); err != nil {
		return 0, err
	}
	n, err := s.ResponseWriter.Write(p)
	s.left -= time.Since(begun)
	if s.taken += n; s.taken >= progressBytes {
		s.left, s.taken = s.time, 0
	}
	return n, err
}

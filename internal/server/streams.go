package server

import (
	"errors"
	"io"
	"net/http"
	"sync"
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
	n, err := s.writeFrames(p)
	if err == nil {
		err = s.control.SetWriteDeadline(time.Time{})
	}
	s.left -= time.Since(begun)
	if s.taken += n; s.taken >= progressBytes {
		s.left, s.taken = s.time, 0
	}
	return n, err
}

// frameBytes of a body and the header of their frame fill one record of TLS. Frames of
// 16 KiB, which net/http would make, need a second record, a system call and a packet for
// the last nine bytes of each.
const frameBytes = 16<<10 - 9

// writeFrames writes p in frames of the same size.
func (s *progressStream) writeFrames(p []byte) (n int, err error) {
	frames := max((len(p)+frameBytes-1)/frameBytes, 1)
	size := (len(p) + frames - 1) / frames
	for n < len(p) && err == nil {
		var written int
		written, err = s.ResponseWriter.Write(p[n:min(n+size, len(p))])
		n += written
	}
	return n, err
}

// streamBytes is how much of a body is read at once: between two reads the bound is set
// and lifted, which the goroutine of the connection does.
const streamBytes = 16 * frameBytes

var streamBuffers = sync.Pool{New: func() any { return new([streamBytes]byte) }}

// ReadFrom writes what r has as soon as r has it.
func (s *progressStream) ReadFrom(r io.Reader) (n int64, err error) {
	buffer := streamBuffers.Get().(*[streamBytes]byte)
	defer streamBuffers.Put(buffer)
	for {
		read, failed := r.Read(buffer[:])
		if read > 0 {
			written, err := s.Write(buffer[:read])
			if n += int64(written); err != nil {
				return n, err
			}
		}
		if errors.Is(failed, io.EOF) {
			return n, nil
		}
		if failed != nil {
			return n, failed
		}
	}
}

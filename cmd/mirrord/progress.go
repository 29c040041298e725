package main

import (
	"io"
	"net"
	"time"
)

const (
	// A client that takes less than progressBytes in progressTime is cut off: who
	// has stopped reading would keep its file open, and from being evicted, for
	// ever. Any line that a pull could end on is faster.
	progressTime  = 2 * time.Minute
	progressBytes = 1 << 20
)

// progressListener accepts connections on which each progressBytes have to be
// taken within time.
type progressListener struct {
	*net.TCPListener
	time time.Duration
}

func (l *progressListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &progressConn{conn, l.time}, nil
}

type progressConn struct {
	*net.TCPConn
	time time.Duration
}

// Write sends p, of which net/http never gives more than its buffer at once.
func (c *progressConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.time)); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}

// ReadFrom lets the kernel send a file, a piece at a time. net/http gives the
// file below an io.LimitedReader.
func (c *progressConn) ReadFrom(r io.Reader) (int64, error) {
	whole, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	var total int64
	for whole.N > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.time)); err != nil {
			return total, err
		}
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, progressBytes)}
		want := piece.N
		n, err := c.TCPConn.ReadFrom(piece)
		total += n
		whole.N -= n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

package server

import (
	"io"
	"net"
	"time"
)

const (
	// A client that takes less than progressBytes in progressTime is cut off: one
	// that has stopped reading would keep its file open, and on the disk, for ever.
	// Any line on which a pull could end is faster.
	progressTime  = 2 * time.Minute
	progressBytes = 1 << 20
)

// CutSlow returns a listener like l whose connections cut off clients that take
// less than a megabyte in two minutes.
func CutSlow(l *net.TCPListener) net.Listener { return &progressListener{l, progressTime} }

// progressListener accepts connections on which each progressBytes have to be taken
// within time.
type progressListener struct {
	*net.TCPListener
	time time.Duration
}

func (l *progressListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &progressConn{TCPConn: conn, time: l.time, left: l.time}, nil
}

// progressConn counts only the time in which a write waits for the client: the time
// that the mirror needs to get the next bytes is not the client's.
type progressConn struct {
	*net.TCPConn
	time time.Duration

	// Of the progressBytes that are being sent. net/http writes from one
	// goroutine at a time.
	left  time.Duration
	taken int64
}

// Write sends p, of which net/http never gives more than its buffer at once.
func (c *progressConn) Write(p []byte) (int, error) {
	n, err := c.send(func() (int64, error) {
		n, err := c.TCPConn.Write(p)
		return int64(n), err
	})
	return int(n), err
}

// send runs one write of a part of the next progressBytes.
func (c *progressConn) send(write func() (int64, error)) (int64, error) {
	begun := time.Now()
	if err := c.SetWriteDeadline(begun.Add(c.left)); err != nil {
		return 0, err
	}
	n, err := write()
	c.left -= time.Since(begun)
	if c.taken += n; c.taken >= progressBytes {
		c.left, c.taken = c.time, 0
	}
	return n, err
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
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, progressBytes-c.taken)}
		want := piece.N
		n, err := c.send(func() (int64, error) { return c.TCPConn.ReadFrom(piece) })
		total += n
		whole.N -= n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

package fleetsim

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"mirrord/internal/hubsim"
)

// line carries bytes one after the other, at its speed. It may be used concurrently.
type line struct {
	speed float64 // bytes a second

	mu   sync.Mutex // guards free
	free time.Time  // when all bytes so far have passed
}

func newLine(speed float64) *line { return &line{speed: speed} }

// take returns when n more bytes have passed.
func (l *line) take(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.speed * float64(time.Second)))
	return l.free
}

// carry waits until n bytes have passed all lines.
func carry(n int, lines []*line) {
	var last time.Time
	for _, l := range lines {
		if at := l.take(n); at.After(last) {
			last = at
		}
	}
	time.Sleep(time.Until(last))
}

// slow is a reader behind lines.
type slow struct {
	io.ReadCloser
	lines []*line
}

// atOnce is how many bytes pass in one piece.
const atOnce = 16 << 10

func (s slow) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p[:min(len(p), atOnce)])
	carry(n, s.lines)
	return n, err
}

// slowConn is a connection whose responses come over lines.
type slowConn struct {
	net.Conn
	lines []*line
}

func (c slowConn) Read(p []byte) (int, error) { return slow{c.Conn, c.lines}.Read(p) }

// dialer returns a dialer of network whose connections to an address have its lines.
func dialer(network *hubsim.Network, to func(address string) []*line) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, kind, address string) (net.Conn, error) {
		conn, err := network.DialContext(ctx, kind, address)
		if err != nil {
			return nil, err
		}
		return slowConn{conn, to(address)}, nil
	}
}
